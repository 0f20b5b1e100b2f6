{{- define "sidecar.name" -}}
{{- .Values.nameOverride | default .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- end }}

{{- define "sidecar.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sidecar.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sidecar.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "sidecar.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "sidecar.kubeVersion" -}}
{{- .Values.kubeVersion | default .Capabilities.KubeVersion.Version -}}
{{- end }}

{{- define "sidecar.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "sidecar.name" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{/* An image: `image` has repository, tag and digest, `tag` stands in for an empty one. */}}
{{- define "sidecar.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest | quote -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (toString (.image.tag | default .tag)) | quote -}}
{{- end -}}
{{- end }}

{{- define "sidecar.probe" -}}
httpGet:
  path: {{ .path }}
  port: admin
{{- with .numbers }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What is mounted as the settings file. */}}
{{- define "sidecar.config" -}}
{{- toYaml (.Values.config | default dict) -}}
{{- end }}

{{/* The settings that a running sidecar cannot take over; the same as in sidecar/settings/changes.py. */}}
{{- define "sidecar.needsRestart" -}}
{{- pick (.Values.config | default dict) "pool" "log" "forwarding" "health" | toYaml -}}
{{- end }}

{{/* A duration such as 1m30s in seconds, rounded up. */}}
{{- define "sidecar.seconds" -}}
{{- $total := 0.0 -}}
{{- range regexFindAll "[0-9]+([.][0-9]+)?(ms|s|m|h)" (toString .) -1 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $worth := get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) $unit -}}
{{- $total = addf $total (mulf (float64 (trimSuffix $unit .)) $worth) -}}
{{- end -}}
{{- ceil $total | int -}}
{{- end }}

{{/* A setting of `config.drain` in seconds; `default` is the program's. */}}
{{- define "sidecar.drainSeconds" -}}
{{- $drain := (.Values.config | default dict).drain | default dict -}}
{{- /* 0 is a value: `default` would take it for none. */ -}}
{{- include "sidecar.seconds" (ternary (get $drain .key) .default (hasKey $drain .key)) -}}
{{- end }}

{{- define "sidecar.podMonitor" -}}
{{- $wanted := .Values.metrics.podMonitor.enabled | toString -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}
true
{{- end -}}
{{- end }}
