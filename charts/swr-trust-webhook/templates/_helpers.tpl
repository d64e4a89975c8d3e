{{/*
Names, labels and other values that several templates share.
*/}}

{{- define "swr-trust.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "swr-trust.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "swr-trust.labels" -}}
{{ include "swr-trust.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: swr-trust
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
The metadata of an object: dict "root" $ "name" NAME "component" COMPONENT, and, as needed,
"cluster" true for an object without a namespace, "labels" and "annotations" for further ones.
*/}}
{{- define "swr-trust.metadata" -}}
name: {{ .name }}
{{- if not .cluster }}
namespace: {{ .root.Release.Namespace }}
{{- end }}
labels:
  {{- include "swr-trust.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := merge (dict) (default dict .annotations) (default dict .root.Values.commonAnnotations) }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "swr-trust.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "swr-trust.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "swr-trust.image" -}}
{{- $name := printf "%s/%s" .Values.image.registry .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the serving certificate. */}}
{{- define "swr-trust.certificateSecret" -}}
{{- if eq .Values.certificates.mode "existingSecret" -}}
{{- .Values.certificates.existingSecret -}}
{{- else -}}
{{- printf "%s-tls" (include "swr-trust.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "swr-trust.serverName" -}}
{{- printf "%s.%s.svc" (include "swr-trust.fullname" .) .Release.Namespace -}}
{{- end -}}

{{/* The Secret with the credentials; empty if the kind needs none. */}}
{{- define "swr-trust.credentialsSecret" -}}
{{- if .Values.credentials.insecureValues -}}
{{- printf "%s-credentials" (include "swr-trust.fullname" .) -}}
{{- else -}}
{{- .Values.credentials.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* The Secrets that must exist before a replica can start, with the keys that each must have. */}}
{{- define "swr-trust.neededSecrets" -}}
{{- $needed := dict -}}
{{- $keys := .Values.credentials.keys -}}
{{- range .Values.credentials.extraSecrets -}}
{{- $_ := set $needed . list -}}
{{- end -}}
{{- if and (eq .Values.certificates.mode "existingSecret") .Values.certificates.existingSecret -}}
{{- $_ := set $needed .Values.certificates.existingSecret (list "tls.crt" "tls.key") -}}
{{- end -}}
{{- with .Values.credentials.existingSecret -}}
{{- $kind := $.Values.credentials.kind -}}
{{- $own := list -}}
{{- if eq $kind "aksk" -}}
{{- $own = list $keys.accessKey $keys.secretKey -}}
{{- if $keys.securityToken -}}{{- $own = append $own $keys.securityToken -}}{{- end -}}
{{- else if eq $kind "token" -}}
{{- $own = list $keys.token -}}
{{- else if eq $kind "iamUser" -}}
{{- $own = list $keys.password -}}
{{- end -}}
{{- $_ := set $needed . (concat $own (default list (get $needed .))) -}}
{{- end -}}
{{- with .Values.registryLogin.existingSecret -}}
{{- $_ := set $needed . (append (default list (get $needed .)) ".dockerconfigjson") -}}
{{- end -}}
{{- toYaml $needed -}}
{{- end -}}

{{/* True if the webhook uses the Kubernetes API. Otherwise it gets no token. */}}
{{- define "swr-trust.usesApi" -}}
{{- if or (include "swr-trust.usesClusterRights" .) .Values.snapshot.enabled -}}true{{- end -}}
{{- end -}}

{{/* True if the webhook needs permissions outside its own namespace. */}}
{{- define "swr-trust.usesClusterRights" -}}
{{- if or (eq .Values.certificates.mode "self") .Values.events.enabled .Values.warmUp.enabled -}}true{{- end -}}
{{- end -}}

{{/* The Secret with the snapshot of trust records. */}}
{{- define "swr-trust.snapshotSecret" -}}
{{- printf "%s-snapshot" (include "swr-trust.fullname" .) -}}
{{- end -}}

{{/* The mode of the policy. A stage before enforce must not contradict policy.mode. */}}
{{- define "swr-trust.mode" -}}
{{- $stage := .Values.presets.stage -}}
{{- $mode := default $stage .Values.policy.mode -}}
{{- if .Values.presets.override -}}
{{- $mode = .Values.presets.override -}}
{{- else if and (ne $stage "enforce") (ne $mode $stage) -}}
{{- fail (printf "\n\npresets.stage is %s and policy.mode is %s: set only one of them." $stage $mode) -}}
{{- end -}}
{{- $mode -}}
{{- end -}}

{{- define "swr-trust.failurePolicy" -}}
{{- if .Values.presets.override -}}
Ignore
{{- else if .Values.webhook.failurePolicy -}}
{{- .Values.webhook.failurePolicy -}}
{{- else -}}
{{- eq .Values.presets.stage "enforce" | ternary "Fail" "Ignore" -}}
{{- end -}}
{{- end -}}

{{/* Fields of all containers of `helm test`. */}}
{{- define "swr-trust.testContainer" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
resources:
  requests: {cpu: 50m, memory: 64Mi}
  limits: {memory: 128Mi}
{{- end -}}

{{/* Egress rules of the Pods. */}}
{{- define "swr-trust.egress" -}}
{{- if .Values.networkPolicy.egress -}}
{{- toYaml .Values.networkPolicy.egress -}}
{{- else -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
    - {port: 5353, protocol: UDP}
    - {port: 443, protocol: TCP}
    - {port: 5443, protocol: TCP}
    - {port: 5444, protocol: TCP}
    - {port: 6443, protocol: TCP}
    {{- with include "swr-trust.registryPorts" . | trim }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}
