{{/*
The configuration file: the value policy, with the keys that follow from other values.
*/}}
{{- define "swr-trust.policy" -}}
{{- $policy := omit .Values.policy "apiVersion" "kind" "credentials" "exemptions" "registries" "rules" "mode" -}}
{{- $document := dict "apiVersion" "swr-trust/v1" "kind" "TrustPolicy" "mode" (include "swr-trust.mode" .) -}}
{{- include "swr-trust.setRegistries" (dict "root" . "document" $document) -}}
{{- $credentials := include "swr-trust.credentials" . | fromYaml -}}
{{- if $credentials -}}
{{- $_ := set $document "credentials" $credentials -}}
{{- end -}}
{{- if and .Values.pinning.enabled (kindIs "invalid" .Values.policy.pinDigests) -}}
{{- $_ := set $document "pinDigests" true -}}
{{- end -}}
{{- $rules := list -}}
{{- range .Values.policy.rules -}}
{{- $rules = append $rules (empty $.Values.presets.override | ternary . (merge (dict "mode" $.Values.presets.override) .)) -}}
{{- end -}}
{{- if $rules -}}
{{- $_ := set $document "rules" $rules -}}
{{- end -}}
{{- $exemptions := .Values.policy.exemptions -}}
{{- if .Values.presets.cceAddons -}}
{{- $exemptions = concat $exemptions (include "swr-trust.cceAddons" . | fromYamlArray) -}}
{{- end -}}
{{- if $exemptions -}}
{{- $_ := set $document "exemptions" $exemptions -}}
{{- end -}}
{{- merge $document $policy | toYaml -}}
{{- end -}}

{{/*
The credentials for all registries: those of the policy, with the kind and the files that the
Deployment mounts. Empty if no registry needs them and no Secret is named: each has its own credentials, or
is of SWR Enterprise.
*/}}
{{- define "swr-trust.credentials" -}}
{{- if include "swr-trust.hasCredentials" . -}}
{{- $kind := .Values.credentials.kind -}}
{{- $keys := .Values.credentials.keys -}}
{{- $folder := "/etc/swr-trust/credentials" -}}
{{- $credentials := dict "kind" $kind -}}
{{- if eq $kind "aksk" -}}
{{- $_ := set $credentials "accessKeyFile" (printf "%s/%s" $folder $keys.accessKey) -}}
{{- $_ := set $credentials "secretKeyFile" (printf "%s/%s" $folder $keys.secretKey) -}}
{{- if $keys.securityToken -}}
{{- $_ := set $credentials "securityTokenFile" (printf "%s/%s" $folder $keys.securityToken) -}}
{{- end -}}
{{- else if eq $kind "token" -}}
{{- $_ := set $credentials "tokenFile" (printf "%s/%s" $folder $keys.token) -}}
{{- else if eq $kind "iamUser" -}}
{{- $_ := set $credentials "passwordFile" (printf "%s/%s" $folder $keys.password) -}}
{{- else if eq $kind "oidc" -}}
{{- $_ := set $credentials "idTokenFile" "/var/run/secrets/swr-trust/oidc/token" -}}
{{- end -}}
{{- merge $credentials (omit .Values.policy.credentials "kind") | toYaml -}}
{{- end -}}
{{- end -}}

{{- define "swr-trust.hasCredentials" -}}
{{- $own := 0 -}}
{{- range .Values.policy.registries -}}
{{- if or .credentials (include "swr-trust.isEnterprise" .) }}{{- $own = add1 $own -}}{{- end -}}
{{- end -}}
{{- $all := eq (int $own) (len .Values.policy.registries) -}}
{{- $named := include "swr-trust.credentialsSecret" . -}}
{{- if or (not $all) $named (not (has .Values.credentials.kind (list "aksk" "token" "iamUser"))) -}}true{{- end -}}
{{- end -}}

{{/*
Exemptions for the organizations of CCE's add-ons and agents. They belong to another account, and SWR
does not show them to this one. They apply to exact organizations under the configured hosts and aliases.
Not under those of SWR Enterprise, where users of this account can create organizations with these names.
*/}}
{{- define "swr-trust.cceAddons" -}}
{{- $hosts := list -}}
{{- range .Values.policy.registries -}}
{{- if not (include "swr-trust.isEnterprise" .) -}}
{{- $hosts = concat $hosts (default (list (include "swr-trust.firstHost" .)) .hosts) (default list .aliases) -}}
{{- end -}}
{{- end -}}
{{- if $hosts -}}
{{- range $organization, $what := dict "hwofficial" "add-ons of CCE" "op_svc_apm" "agents of AOM and APM" }}
- name: {{ printf "CCE preset: %s" $organization | quote }}
  reason: {{ printf "%s, published by Huawei Cloud in its own account, which SWR does not show to other accounts" $what | quote }}
  images:
    {{- range uniq $hosts }}
    - {{ printf "%s/%s/**" . $organization | quote }}
    {{- end }}
{{- end }}
{{- end -}}
{{- end -}}
