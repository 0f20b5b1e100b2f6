{{/* Renders nothing, or fails with what is wrong and what to write instead. */}}
{{- define "sidecar.validate" -}}
{{- include "sidecar.validateConfig" . -}}
{{- include "sidecar.validateMode" . -}}
{{- include "sidecar.validateShutdown" . -}}
{{- end }}

{{/* What arguments and environment say wins over the file, so there it would be said in vain. */}}
{{- define "sidecar.validateConfig" -}}
{{- $config := .Values.config | default dict -}}
{{- if hasKey $config "upstream" }}{{ fail "config.upstream has no effect here: set upstream" }}{{ end -}}
{{- if hasKey $config "listen" }}{{ fail "config.listen has no effect here: set ports.http" }}{{ end -}}
{{- if hasKey ($config.admin | default dict) "listen" }}{{ fail "config.admin.listen has no effect here: set ports.admin" }}{{ end -}}
{{- if ($config.admin | default dict).token }}{{ fail "config.admin.token would be readable in a ConfigMap: mount a Secret and set config.admin.token_file" }}{{ end -}}
{{- if regexMatch "://[^/]*:[^/]*@" (toString ($config.redis | default dict).url) }}{{ fail "config.redis.url holds a password, readable in a ConfigMap: give SIDECAR_REDIS__URL in extraEnv, from a Secret" }}{{ end -}}
{{- range $name, $_ := .Values.env -}}
{{- $path := splitList "__" (trimPrefix "SIDECAR_" $name | lower) -}}
{{- $section := get $config (first $path) -}}
{{- if and (hasPrefix "SIDECAR_" $name) (eq (len $path) 2) (kindIs "map" $section) -}}
{{- if hasKey $section (last $path) }}{{ fail (printf "config.%s has no effect: env.%s wins over it; remove one" (join "." $path) $name) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if eq (int .Values.ports.http) (int .Values.ports.admin) }}{{ fail "ports.http and ports.admin are the same" }}{{ end -}}
{{- end }}

{{- define "sidecar.validateMode" -}}
{{- $version := include "sidecar.kubeVersion" . -}}
{{- if and (eq .Values.mode "native") (semverCompare "<1.29.0-0" $version) -}}
{{- fail (printf "mode native needs Kubernetes 1.29, this is %s: set mode to classic, and config.drain.timeout as values.yaml says" $version) -}}
{{- end -}}
{{- if and (eq .Values.shutdown.appPreStop "sleep") (semverCompare "<1.30.0-0" $version) -}}
{{- fail (printf "shutdown.appPreStop sleep needs Kubernetes 1.30, this is %s: set exec, if the app's image has a sleep" $version) -}}
{{- end -}}
{{- end }}

{{/* The arithmetic that values.yaml draws. */}}
{{- define "sidecar.validateShutdown" -}}
{{- $grace := int .Values.shutdown.gracePeriodSeconds -}}
{{- $preStop := int .Values.shutdown.appPreStopSeconds -}}
{{- $app := add $preStop (int .Values.shutdown.appSeconds) | int -}}
{{- $delay := include "sidecar.drainSeconds" (dict "Values" .Values "key" "delay" "default" "0s") | int -}}
{{- $timeout := include "sidecar.drainSeconds" (dict "Values" .Values "key" "timeout" "default" "25s") | int -}}
{{- if lt $preStop (add $delay 2 | int) -}}
{{- fail (printf "shutdown.appPreStopSeconds is %d: idle connections close within a second after config.drain.delay (%ds), and a request on one of them would find the app gone; set at least %d" $preStop $delay (add $delay 2)) -}}
{{- end -}}
{{- if eq .Values.mode "native" -}}
{{- $needed := add $app $timeout 5 | int -}}
{{- if lt $grace $needed -}}
{{- fail (printf "shutdown.gracePeriodSeconds is %d: requests in flight would be killed; appPreStopSeconds %d + appSeconds %d + config.drain.timeout %d + 5 = %d" $grace $preStop (int .Values.shutdown.appSeconds) $timeout $needed) -}}
{{- end -}}
{{- else -}}
{{- $sidecar := add $delay $timeout | int -}}
{{- if lt $sidecar $app -}}
{{- fail (printf "config.drain.timeout is %ds: in classic mode the sidecar would end at %d s, before the app does at %d s (appPreStopSeconds + appSeconds); set at least %ds" $timeout $sidecar $app (sub $app $delay)) -}}
{{- end -}}
{{- $needed := add $sidecar 5 | int -}}
{{- if lt $grace $needed -}}
{{- fail (printf "shutdown.gracePeriodSeconds is %d: requests in flight would be killed; config.drain.delay %d + config.drain.timeout %d + 5 = %d" $grace $delay $timeout $needed) -}}
{{- end -}}
{{- end -}}
{{- end }}
