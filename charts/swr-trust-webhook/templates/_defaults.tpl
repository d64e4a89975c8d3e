{{/*
A value that is null has its default. Helm removes a key that is set to null, or keeps it as null,
depending on its version and on where the null stands. Every template includes this first, because
Helm promises no order; the values are one mapping that all templates share.
*/}}
{{- define "swr-trust.defaults" -}}
{{- $file := .Files.Get "files/defaults.json" | fromJson -}}
{{- include "swr-trust.fill" (dict "values" .Values "defaults" $file.values "open" $file.open "path" "") -}}
{{- end -}}

{{/*
Set what is missing: dict "values" MAPPING "defaults" MAPPING "path" PREFIX "open" PATHS. The mappings
at these paths are passed on as they are: null empties them, or removes one of their keys.
Prints nothing.
*/}}
{{- define "swr-trust.fill" -}}
{{- $call := . -}}
{{- range $key, $default := .defaults -}}
{{- $path := printf "%s%s" $call.path $key -}}
{{- $value := index $call.values $key -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := set $call.values $key (has $path $call.open | ternary dict $default) -}}
{{- else if and (kindIs "map" $value) (kindIs "map" $default) (not (has $path $call.open)) -}}
{{- include "swr-trust.fill" (dict "values" $value "defaults" $default "open" $call.open "path" (printf "%s." $path)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
