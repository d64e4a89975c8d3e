{{/*
CEL for matchConditions. They must never fail where an object is valid: a condition that fails
refuses the request under failurePolicy Fail.
*/}}

{{/*
Whether an object brings in images: it is new, or its Pod spec uses others than before. Takes the
CEL that leads from an object `o` to its Pod spec. What counts as a use is what webhook/admission/extraction.py
compares: list, name, image and pull policy.
*/}}
{{- define "swr-trust.bringsInImages" -}}
request.operation != "UPDATE" || oldObject == null || [
  [object, oldObject].map(o, {{ . }}).map(s, [
    [
      has(s.containers) ? s.containers : [],
      has(s.initContainers) ? s.initContainers : [],
      has(s.ephemeralContainers) ? s.ephemeralContainers : []
    ].map(containers, containers.map(c, [
      c.name,
      has(c.image) ? c.image : "",
      has(c.imagePullPolicy) ? c.imagePullPolicy : ""
    ])),
    [
      has(s.volumes) ? s.volumes : []
    ].map(volumes, volumes.filter(v, has(v.image)).map(v, [
      v.name,
      has(v.image.reference) ? v.image.reference : "",
      has(v.image.pullPolicy) ? v.image.pullPolicy : ""
    ]))
  ])
].exists(uses, uses[0] != uses[1])
{{- end -}}

{{/*
True while a RoleBinding in the webhook's namespace grants what it grants to nobody's use. The
binding goes with the namespace, and the Service with it: from then on nobody is called. An
authorizer that cannot answer counts as a yes.
*/}}
{{- define "swr-trust.standsGuard" -}}
[
  authorizer
    .serviceAccount("{{ .Release.Namespace }}", "{{ include "swr-trust.serviceAccountName" . }}")
    .group("swr-trust").resource("gates").namespace("{{ .Release.Namespace }}").name("{{ include "swr-trust.fullname" . }}")
    .check("guard")
].exists(answer, answer.allowed() || answer.errored())
{{- end -}}

{{- define "swr-trust.followsNamespace" -}}
{{- if and .Values.webhook.standDownWithNamespace .Values.rbac.create -}}true{{- end -}}
{{- end -}}
