{{/*
Checks of signatures as evidence that a schema cannot express, or not with a clear message. The program makes them,
too, and more; here they fail before anything is installed. No message contains the text of a key.
*/}}

{{/* The problems, as a YAML list. */}}
{{- define "swr-trust.signatureProblems" -}}
{{- $root := . -}}
{{- $problems := list -}}
{{- range $name, $key := .Values.signatures.keys -}}
{{- with include "swr-trust.keyProblem" $key -}}
{{- $problems = append $problems (printf "signatures.keys.%s %s" $name .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.signatures.keys .Values.signatures.existingConfigMap -}}
{{- $problems = append $problems "set signatures.keys or signatures.existingConfigMap, not both" -}}
{{- end -}}
{{- $logins := 0 -}}
{{- range $index, $registry := .Values.policy.registries -}}
{{- $call := dict "root" $root "registry" $registry "path" (printf "policy.registries[%d]" $index) -}}
{{- $problems = concat $problems (include "swr-trust.registryProblems" $call | fromYamlArray) -}}
{{- if include "swr-trust.usesLoginSecret" $call -}}
{{- $logins = add1 $logins -}}
{{- end -}}
{{- end -}}
{{- if and $logins (not .Values.registryLogin.existingSecret) -}}
{{- $problems = append $problems (printf "set registryLogin.existingSecret to the name of a Secret of type kubernetes.io/dockerconfigjson: a registry logs in with %s" (include "swr-trust.loginFile" .)) -}}
{{- end -}}
{{- if and .Values.registryLogin.existingSecret (not $logins) -}}
{{- $problems = append $problems (printf "no registry would use registryLogin.existingSecret: only registries with signatures log in to the registry API, and by default with an access key if they have one. Set policy.registries[].registryLogin.dockerConfigFile=%s, or remove registryLogin.existingSecret" (include "swr-trust.loginFile" .)) -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* What is wrong with the text of a public key, as the end of a sentence; empty if nothing is seen. */}}
{{- define "swr-trust.keyProblem" -}}
{{- $blocks := regexFindAll "-----BEGIN [^-]+-----" . -1 -}}
{{- if contains "PRIVATE KEY" . -}}
contains a private key: set the public key. If these values were stored, or shown to others, create a new pair of keys
{{- else if contains "MCowBQYDK2Vw" . -}}{{/* the DER of an Ed25519 key, in base64 */ -}}
is an Ed25519 key: cosign signs with such a key in a form that cannot be verified with the key alone. Use a key of ECDSA P-256
{{- else if or (ne (toJson $blocks) (toJson (list "-----BEGIN PUBLIC KEY-----"))) (not (contains "-----END PUBLIC KEY-----" .)) -}}
is not a public key: set one block in PEM format, from -----BEGIN PUBLIC KEY----- to -----END PUBLIC KEY-----
{{- end -}}
{{- end -}}

{{/* The problems of a registry, as a YAML list: dict "root" $ "registry" REGISTRY "path" PATH. */}}
{{- define "swr-trust.registryProblems" -}}
{{- $path := .path -}}
{{- $registry := .registry -}}
{{- $problems := list -}}
{{- $evidence := default "tagDetail" $registry.evidence -}}
{{- $keys := default list (default dict $registry.signatures).keys -}}
{{- if include "swr-trust.isEnterprise" $registry -}}
{{- range list "region" "projectId" "endpoint" "iamEndpoint" "credentials" -}}
{{- if hasKey $registry . -}}
{{- $problems = append $problems (printf "%s.%s does not go with edition enterprise: remove it. SWR Enterprise is queried through its registry API only" $path .) -}}
{{- end -}}
{{- end -}}
{{- if not $registry.hosts -}}
{{- $problems = append $problems (printf "%s.hosts is missing: SWR Enterprise has no default. Set the hosts of your instance, as in image references" $path) -}}
{{- end -}}
{{- if ne $evidence "signature" -}}
{{- $problems = append $problems (printf "%s.evidence is %s: SWR Enterprise has no is_trusted. Set evidence: signature, and the keys in signatures" $path $evidence) -}}
{{- end -}}
{{- else -}}
{{- if not $registry.region -}}
{{- $problems = append $problems (printf "%s.region is missing: set the region, or edition: enterprise for SWR Enterprise" $path) -}}
{{- end -}}
{{- range concat (default list $registry.hosts) (default list $registry.aliases) -}}
{{- if regexMatch "^.+[.]swr-pro([.][a-z0-9-]+)?[.]myhuaweicloud[.](com|eu)(:[0-9]+)?$" (lower .) -}}
{{- $problems = append $problems (printf "%s: %s is a host of SWR Enterprise, which has no is_trusted. Move it to an entry of its own with edition: enterprise, evidence: signature and the keys in signatures" $path .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (ne $evidence "tagDetail") (not $keys) -}}
{{- $problems = append $problems (printf "%s.evidence is %s, and no key is set, so that every image would be denied: set %s.signatures.keys, for example to [{name: release}], and signatures.keys.release to the public key" $path $evidence $path) -}}
{{- end -}}
{{- $threshold := default 1 (default dict $registry.signatures).threshold | int -}}
{{- if and $keys (gt $threshold (len $keys)) -}}
{{- $problems = append $problems (printf "%s.signatures.threshold is %d, and only %d keys can sign: lower it, or add keys" $path $threshold (len $keys)) -}}
{{- end -}}
{{- $values := .root.Values.signatures -}}
{{- $folder := include "swr-trust.keysFolder" . -}}
{{- $names := list -}}
{{- $texts := dict -}}
{{- range $index, $key := $keys -}}
{{- $place := printf "%s.signatures.keys[%d]" $path $index -}}
{{- $file := include "swr-trust.keyFile" $key -}}
{{- if not (hasPrefix "/" $file) -}}
{{- $problems = append $problems (printf "%s.file is not an absolute path: set the path of a file, and the key itself in signatures.keys.%s" $place $key.name) -}}
{{- else if hasPrefix (printf "%s/" $folder) $file -}}
{{- $name := trimPrefix (printf "%s/" $folder) $file | trimSuffix ".pub" -}}
{{- if not (or $values.keys $values.existingConfigMap) -}}
{{- $problems = append $problems (printf "%s: the file %s would not exist. Set signatures.keys.%s to the public key, or signatures.existingConfigMap to a ConfigMap with the file %s" $place $file $name (base $file)) -}}
{{- else if and $values.keys (not (and (hasKey $values.keys $name) (hasSuffix ".pub" $file))) -}}
{{- $problems = append $problems (printf "%s: the file %s would not exist. signatures.keys has only: %s" $place $file (keys $values.keys | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $text := regexReplaceAll "\\s" (default "" (get $values.keys $name)) "" -}}
{{- if and $text (ne $key.name (get $texts $text | default $key.name)) -}}
{{- $problems = append $problems (printf "%s: %s has the same public key as %s, and would count as a second signer. Remove one of them" $place $key.name (get $texts $text)) -}}
{{- end -}}
{{- $_ := set $texts $text $key.name -}}
{{- end -}}
{{- if has $key.name $names -}}
{{- $problems = append $problems (printf "%s.name: another key of this registry has the name %s. Names must be unique" $place $key.name) -}}
{{- end -}}
{{- $names = append $names $key.name -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* The problems of the existing ConfigMap with the keys, which is read from the cluster, as a YAML list. */}}
{{- define "swr-trust.keysConfigMapProblems" -}}
{{- $problems := list -}}
{{- with .Values.signatures.existingConfigMap -}}
{{- $found := lookup "v1" "ConfigMap" $.Release.Namespace . -}}
{{- $where := printf "ConfigMap %s" . -}}
{{- if not $found -}}
{{- $problems = append $problems (printf "%s does not exist in namespace %s: create it first, or set checkSecrets=false if another component creates it later. Without it, no replica can start" $where $.Release.Namespace) -}}
{{- else -}}
{{- $data := default dict $found.data -}}
{{- range $file, $text := $data -}}
{{- if contains "PRIVATE KEY" $text -}}
{{- $problems = append $problems (printf "%s in namespace %s: %s %s" $where $.Release.Namespace $file (include "swr-trust.keyProblem" $text)) -}}
{{- end -}}
{{- end -}}
{{- range include "swr-trust.keyFiles" $ | fromYamlArray -}}
{{- if not (or (hasKey $data .) (hasKey (default dict $found.binaryData) .)) -}}
{{- $problems = append $problems (printf "%s in namespace %s has no key %s: add it, or correct policy.registries[].signatures.keys. Without it, no replica can start" $where $.Release.Namespace .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* The files in the mounted ConfigMap that the registries use, as a YAML list. */}}
{{- define "swr-trust.keyFiles" -}}
{{- $files := list -}}
{{- range .Values.policy.registries -}}
{{- range default list (default dict .signatures).keys -}}
{{- $file := include "swr-trust.keyFile" . -}}
{{- if eq (dir $file) (include "swr-trust.keysFolder" .) -}}
{{- $files = append $files (base $file) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- uniq $files | toYaml -}}
{{- end -}}

{{/*
The registries that would find no login in a Docker configuration: dict "root" $ "config" TEXT. The result is a YAML
list of problems. An entry counts by the host of the registry API, or any host of the registry, as in
webhook/oci/login.py.
*/}}
{{- define "swr-trust.loginProblems" -}}
{{- $root := .root -}}
{{- $problems := list -}}
{{- $secret := printf "Secret %s in namespace %s" $root.Values.registryLogin.existingSecret $root.Release.Namespace -}}
{{- $hosts := list -}}
{{- range $name, $_ := default dict (fromJson .config).auths -}}
{{- $hosts = append $hosts (regexReplaceAll "^https?://" $name "" | splitList "/" | first | lower) -}}
{{- end -}}
{{- range $registry := $root.Values.policy.registries -}}
{{- if include "swr-trust.usesLoginSecret" (dict "root" $root "registry" $registry) -}}
{{- $own := list (regexReplaceAll "^https?://" (include "swr-trust.registryAddress" $registry) "" | trimSuffix "/") -}}
{{- $own = concat $own (list (include "swr-trust.firstHost" $registry)) (default list $registry.hosts) (default list $registry.aliases) -}}
{{- $missing := true -}}
{{- range $own -}}
{{- if has (lower .) $hosts -}}
{{- $missing = false -}}
{{- end -}}
{{- end -}}
{{- if $missing -}}
{{- $problems = append $problems (printf "%s has no login for %s: add it. Without it, no signature of this registry can be read" $secret (first $own)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (uniq $problems) -}}
{{- end -}}
