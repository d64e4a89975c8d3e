{{/*
Set every value that is null to its default. Helm removes a key that is set to null, or keeps it as null,
depending on its version and on the position of the null. Every template includes this first, because
Helm does not guarantee an order. All templates share one mapping of values.
*/}}
{{- define "swr-trust.defaults" -}}
{{- $file := .Files.Get "files/defaults.json" | fromJson -}}
{{- include "swr-trust.fill" (dict "values" .Values "defaults" $file.values "open" $file.open "path" "") -}}
{{- end -}}

{{/*
Set missing values: dict "values" MAPPING "defaults" MAPPING "path" PREFIX "open" PATHS. The mappings
at the paths in "open" are not filled: null empties them, or removes one of their keys.
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
