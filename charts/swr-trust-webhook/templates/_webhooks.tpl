{{/*
Parts that the validating and the mutating webhook configuration share.
*/}}

{{- define "swr-trust.webhookMetadata" -}}
{{- $annotations := default dict .Values.webhook.annotations -}}
{{- if eq .Values.certificates.mode "certManager" -}}
{{- $annotations = merge (dict "cert-manager.io/inject-ca-from" (printf "%s/%s" .Release.Namespace (include "swr-trust.certificateSecret" .))) $annotations -}}
{{- end -}}
{{- include "swr-trust.metadata" (dict "root" . "name" (include "swr-trust.fullname" .) "component" "webhook" "cluster" true "annotations" $annotations) -}}
{{- end -}}

{{/*
One entry of a webhook configuration: dict "root" $ "name" NAME "path" PATH "failurePolicy" POLICY "podSpec"
CEL "rules" TEMPLATE, and, as needed, "reinvocationPolicy" POLICY.
*/}}
{{- define "swr-trust.webhook" -}}
{{- $root := .root -}}
{{- $webhook := .root.Values.webhook -}}
- name: {{ printf "%s.%s" .name (include "swr-trust.serverName" $root) }}
  admissionReviewVersions:
    - v1
  clientConfig:
    {{- /* In the other modes, the webhook or cert-manager maintains caBundle. */}}
    {{- with $root.Values.certificates.caBundle }}
    caBundle: {{ b64enc . }}
    {{- end }}
    service:
      name: {{ include "swr-trust.fullname" $root }}
      namespace: {{ $root.Release.Namespace }}
      path: {{ .path }}
      port: {{ $root.Values.service.port }}
  failurePolicy: {{ .failurePolicy }}
  {{- with .reinvocationPolicy }}
  reinvocationPolicy: {{ . }}
  {{- end }}
  matchPolicy: Equivalent
  sideEffects: {{ $root.Values.events.enabled | ternary "NoneOnDryRun" "None" }}
  timeoutSeconds: {{ $webhook.timeoutSeconds }}
  namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: NotIn
        values:
          {{- append $webhook.excludedNamespaces $root.Release.Namespace | uniq | sortAlpha | toYaml | nindent 10 }}
      {{- with $webhook.namespaceSelector.matchExpressions }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with $webhook.namespaceSelector.matchLabels }}
    matchLabels:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  {{- with $webhook.objectSelector }}
  objectSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- include .rules $root | nindent 4 }}
  matchConditions:
    {{- if include "swr-trust.followsNamespace" $root }}
    - name: stands-guard
      expression: |-
        {{- include "swr-trust.standsGuard" $root | nindent 8 }}
    {{- end }}
    - name: brings-in-images
      expression: |-
        {{- include "swr-trust.bringsInImages" .podSpec | nindent 8 }}
    {{- with $webhook.matchConditions }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "swr-trust.podRules" -}}
- apiGroups: [""]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  resources: [pods]
  scope: Namespaced
- apiGroups: [""]
  apiVersions: [v1]
  operations: [UPDATE]
  resources: [pods/ephemeralcontainers]
  scope: Namespaced
{{- end -}}

{{- define "swr-trust.workloadRules" -}}
- apiGroups: [apps]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  resources: [daemonsets, deployments, replicasets, statefulsets]
  scope: Namespaced
- apiGroups: [batch]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  resources: [cronjobs, jobs]
  scope: Namespaced
- apiGroups: [""]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  resources: [replicationcontrollers]
  scope: Namespaced
{{- end -}}
