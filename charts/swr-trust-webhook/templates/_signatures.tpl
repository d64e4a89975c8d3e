{{/*
Signatures as evidence: the registries with the files that the chart mounts, and the volumes for them.
*/}}

{{- define "swr-trust.keysFolder" -}}
/etc/swr-trust/keys
{{- end -}}

{{- define "swr-trust.loginFile" -}}
/etc/swr-trust/login/.dockerconfigjson
{{- end -}}

{{/* The ConfigMap with the public keys; empty if there is none. */}}
{{- define "swr-trust.keysConfigMap" -}}
{{- if .Values.signatures.keys -}}
{{- printf "%s-keys" (include "swr-trust.fullname" .) -}}
{{- else -}}
{{- .Values.signatures.existingConfigMap -}}
{{- end -}}
{{- end -}}

{{/*
Set "registries" in a dict: dict "root" $ "document" DICT. Each key without a file gets the one that the chart
mounts. A registry without a login of its own gets the mounted one if it needs it. Prints nothing.
*/}}
{{- define "swr-trust.setRegistries" -}}
{{- $call := . -}}
{{- $registries := list -}}
{{- range $registry := .root.Values.policy.registries -}}
{{- $result := merge (dict) $registry -}}
{{- with $registry.signatures -}}
{{- $keys := list -}}
{{- range .keys -}}
{{- $keys = append $keys (merge (dict "file" (include "swr-trust.keyFile" .)) .) -}}
{{- end -}}
{{- $_ := set $result "signatures" (merge (dict "keys" $keys) (omit . "keys")) -}}
{{- end -}}
{{- if include "swr-trust.usesLoginSecret" (dict "root" $call.root "registry" $registry) -}}
{{- $_ := set $result "registryLogin" (dict "dockerConfigFile" (include "swr-trust.loginFile" $call.root)) -}}
{{- end -}}
{{- $registries = append $registries $result -}}
{{- end -}}
{{- $_ := set .document "registries" $registries -}}
{{- end -}}

{{/* The file of a key of a registry. */}}
{{- define "swr-trust.keyFile" -}}
{{- default (printf "%s/%s.pub" (include "swr-trust.keysFolder" .) .name) .file -}}
{{- end -}}

{{- define "swr-trust.isEnterprise" -}}
{{- if eq (default "basic" .edition) "enterprise" -}}true{{- end -}}
{{- end -}}

{{/* The host of a registry in image references: the first one, or that of its region. */}}
{{- define "swr-trust.firstHost" -}}
{{- if .hosts -}}
{{- first .hosts -}}
{{- else -}}
{{- $domain := eq (default "" .region) "eu-west-101" | ternary "myhuaweicloud.eu" "myhuaweicloud.com" -}}
{{- printf "swr.%s.%s" .region $domain -}}
{{- end -}}
{{- end -}}

{{/* The address of the registry API, with or without a scheme. */}}
{{- define "swr-trust.registryAddress" -}}
{{- default (include "swr-trust.firstHost" .) .registryEndpoint -}}
{{- end -}}

{{/*
True if a registry logs in to the registry API with registryLogin.existingSecret: dict "root" $ "registry"
REGISTRY. By default, only if no login can be made from an access key.
*/}}
{{- define "swr-trust.usesLoginSecret" -}}
{{- with .registry.registryLogin -}}
{{- if eq .dockerConfigFile (include "swr-trust.loginFile" .) -}}true{{- end -}}
{{- else -}}
{{- $isGiven := and .registry.signatures .root.Values.registryLogin.existingSecret -}}
{{- if and $isGiven (not (include "swr-trust.hasKeyLogin" .)) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/*
True if the program can make the login for the registry API from the credentials, which must be a permanent access
key: dict "root" $ "registry" REGISTRY.
*/}}
{{- define "swr-trust.hasKeyLogin" -}}
{{- $values := .root.Values.credentials -}}
{{- $kind := $values.kind -}}
{{- $token := $values.keys.securityToken -}}
{{- with .registry.credentials -}}
{{- $kind = .kind -}}
{{- $token = .securityTokenFile -}}
{{- end -}}
{{- if and (eq $kind "aksk") (not $token) (not (include "swr-trust.isEnterprise" .registry)) -}}true{{- end -}}
{{- end -}}

{{/* True if a registry uses a key file that the chart does not mount: one of extraVolumes. */}}
{{- define "swr-trust.usesOtherKeyFiles" -}}
{{- $others := list -}}
{{- range .Values.policy.registries -}}
{{- range default list (default dict .signatures).keys -}}
{{- if ne (include "swr-trust.keyFile" . | dir) (include "swr-trust.keysFolder" .) -}}
{{- $others = append $others .name -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $others -}}true{{- end -}}
{{- end -}}

{{- define "swr-trust.signatureMounts" -}}
{{- if include "swr-trust.keysConfigMap" . }}
- name: signing-keys
  mountPath: {{ include "swr-trust.keysFolder" . }}
  readOnly: true
{{- end }}
{{- if .Values.registryLogin.existingSecret }}
- name: registry-login
  mountPath: {{ include "swr-trust.loginFile" . | dir }}
  readOnly: true
{{- end }}
{{- end -}}

{{/* No Pod has a checksum of the keys: the program reads them again, so that a rotation restarts nothing. */}}
{{- define "swr-trust.signatureVolumes" -}}
{{- with include "swr-trust.keysConfigMap" . }}
- name: signing-keys
  configMap:
    name: {{ . }}
{{- end }}
{{- with .Values.registryLogin.existingSecret }}
- name: registry-login
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items:
      - {key: .dockerconfigjson, path: .dockerconfigjson}
{{- end }}
{{- end -}}

{{/*
Ports of the registry API that the default egress rules lack, as a YAML list. Only registries with signatures use this
API. Blobs may be redirected to object storage, on port 443.
*/}}
{{- define "swr-trust.registryPorts" -}}
{{- $ports := list -}}
{{- range .Values.policy.registries -}}
{{- if .signatures -}}
{{- with include "swr-trust.registryAddress" . | trimSuffix "/" | regexFind ":[0-9]+$" -}}
{{- $ports = append $ports (trimPrefix ":" . | int) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $known := list 443 5443 5444 6443 -}}
{{- range uniq $ports -}}
{{- if not (has . $known) }}
- {port: {{ . }}, protocol: TCP}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A registry in NOTES.txt: its region, or its first host, with its organizations: several may share a host. */}}
{{- define "swr-trust.registryName" -}}
{{- default (include "swr-trust.firstHost" .) .region -}}
{{- with .organizations }} ({{ join ", " . }}){{ end -}}
{{- end -}}

{{/* The evidence of a registry in NOTES.txt. */}}
{{- define "swr-trust.evidence" -}}
{{- $evidence := default "tagDetail" .evidence -}}
{{- $evidence -}}
{{- if ne $evidence "tagDetail" -}}
{{- $names := list -}}
{{- $signatures := default dict .signatures -}}
{{- range default list $signatures.keys -}}
{{- $names = append $names .name -}}
{{- end }} (by {{ default 1 $signatures.threshold }} of the keys {{ join ", " $names }})
{{- end -}}
{{- end -}}

{{/*
Warnings in NOTES.txt about keys and logins, as a YAML list. notAfter is a date, valid until its end in UTC, or an RFC
3339 time.
*/}}
{{- define "swr-trust.signatureWarnings" -}}
{{- $warnings := list -}}
{{- $used := list -}}
{{- $now := now | unixEpoch | int64 -}}
{{- $ahead := 1209600 -}}{{/* 14 days, in seconds */ -}}
{{- range $registry := .Values.policy.registries -}}
{{- $name := include "swr-trust.registryName" $registry -}}
{{- $call := dict "root" $ "registry" $registry -}}
{{- $needsLogin := and (ne (default "tagDetail" .evidence) "tagDetail") (not .registryLogin) -}}
{{- if and $needsLogin (not (include "swr-trust.usesLoginSecret" $call)) (not (include "swr-trust.hasKeyLogin" $call)) -}}
{{- $warnings = append $warnings (printf "The signatures of %s are read without a login: set registryLogin.existingSecret, unless all its repositories are public." $name) -}}
{{- end -}}
{{- $counting := 0 -}}
{{- $threshold := default 1 (default dict .signatures).threshold | int -}}
{{- range $key := default list (default dict .signatures).keys -}}
{{- $used = append $used (include "swr-trust.keyFile" $key | base | trimSuffix ".pub") -}}
{{- $counting = add1 $counting -}}
{{- with $key.notAfter -}}
{{- $text := toString . -}}
{{- $end := toDate "2006-01-02T15:04:05Z07:00" (len $text | eq 10 | ternary (printf "%sT23:59:59Z" $text) $text) | unixEpoch | int64 -}}
{{- if le $end $now -}}
{{- $counting = sub $counting 1 -}}
{{- $warnings = append $warnings (printf "The key %s of %s no longer counts: its notAfter is %s. Images that only this key signed are denied. Sign them with another key, or remove this one." $key.name $name $text) -}}
{{- else if le (sub $end $now) $ahead -}}
{{- $warnings = append $warnings (printf "The key %s of %s does not count after %s (notAfter). Before that, sign its images with another key." $key.name $name $text) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (ne (default "tagDetail" .evidence) "tagDetail") (lt (int $counting) $threshold) -}}
{{- $warnings = append $warnings (printf "No image of %s can be trusted: %d of its keys count, and signatures.threshold is %d." $name $counting $threshold) -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := .Values.signatures.keys -}}
{{- if not (has $name $used) -}}
{{- $warnings = append $warnings (printf "signatures.keys.%s is not used: name it in policy.registries[].signatures.keys, or remove it." $name) -}}
{{- end -}}
{{- end -}}
{{- toYaml $warnings -}}
{{- end -}}
