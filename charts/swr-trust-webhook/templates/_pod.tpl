{{/*
Fields that the Pods of the webhook and of the audit share: security contexts, scheduling, the
credentials for SWR, and the keys of signatures.
*/}}

{{- define "swr-trust.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.runAsUser }}
runAsGroup: {{ .Values.runAsUser }}
fsGroup: {{ .Values.runAsUser }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "swr-trust.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "swr-trust.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "swr-trust.env" -}}
env:
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "swr-trust.identityMounts" -}}
{{- if include "swr-trust.credentialsSecret" . }}
- name: credentials
  mountPath: /etc/swr-trust/credentials
  readOnly: true
{{- end }}
{{- range .Values.credentials.extraSecrets }}
- name: secret-{{ . | replace "." "-" }}
  mountPath: /etc/swr-trust/secrets/{{ . }}
  readOnly: true
{{- end }}
{{- if eq .Values.credentials.kind "oidc" }}
- name: oidc
  mountPath: /var/run/secrets/swr-trust/oidc
  readOnly: true
{{- end }}
{{- include "swr-trust.signatureMounts" . }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "swr-trust.identityVolumes" -}}
{{- with include "swr-trust.credentialsSecret" . }}
- name: credentials
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- range .Values.credentials.extraSecrets }}
- name: secret-{{ . | replace "." "-" }}
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- if eq .Values.credentials.kind "oidc" }}
- name: oidc
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          audience: {{ .Values.credentials.oidc.audience }}
          expirationSeconds: {{ .Values.credentials.oidc.expirationSeconds }}
{{- end }}
{{- include "swr-trust.signatureVolumes" . }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Annotations of a Pod: dict "root" $ "port" NUMBER "scheme" SCHEME. */}}
{{- define "swr-trust.podAnnotations" -}}
{{- $values := .root.Values -}}
{{- $annotations := merge (dict) $values.podAnnotations -}}
{{- if $values.scrapeAnnotations.prometheus -}}
{{- $annotations = merge (dict "prometheus.io/scrape" "true" "prometheus.io/scheme" .scheme "prometheus.io/path" "/metrics" "prometheus.io/port" (toString .port)) $annotations -}}
{{- end -}}
{{- if $values.scrapeAnnotations.aom -}}
{{- $annotations = merge (dict "metrics.alpha.kubernetes.io/custom-endpoints" (list (dict "api" "prometheus" "path" "/metrics" "port" (toString .port) "names" "") | toJson)) $annotations -}}
{{- end -}}
{{- if $values.credentials.insecureValues -}}
{{- $annotations = merge (dict "checksum/credentials" (toJson $values.credentials.insecureValues | sha256sum)) $annotations -}}
{{- end -}}
{{- with $annotations }}
{{- toYaml . }}
{{- end }}
{{- end -}}
