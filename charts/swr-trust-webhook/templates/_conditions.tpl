{{/*
CEL expressions for matchConditions. They must not fail for a valid object: with failurePolicy Fail,
a failed condition denies the request.
*/}}

{{/*
True if an object uses new images: it is created, or its Pod spec uses other images than before. The
argument is the CEL path from an object `o` to its Pod spec. The compared fields are those that webhook/admission/extraction.py
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
True while a RoleBinding of this release exists in the webhook's namespace. No component uses the
permission that it grants. The RoleBinding is deleted with the namespace, as is the Service: the API server
then no longer calls the webhook. An error of the authorizer counts as true.
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
