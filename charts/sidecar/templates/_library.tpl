{{/*
For other charts: name this one in `dependencies`, set sidecar.app.enabled=false, and put into your own pod, with
.Subcharts.sidecar as the context:

    metadata.labels                      {{ include "sidecar.podLabels" . }}
    metadata.annotations                 {{ include "sidecar.podAnnotations" . }}
    spec.terminationGracePeriodSeconds   {{ include "sidecar.gracePeriodSeconds" . }}
    spec.initContainers                  {{ include "sidecar.initContainers" . }}    a list; empty in classic mode
    spec.containers                      {{ include "sidecar.containers" . }}        a list; empty in native mode
    spec.containers[your app].lifecycle  {{ include "sidecar.appLifecycle" . }}
    spec.volumes                         {{ include "sidecar.volumes" . }}           a list

The settings' ConfigMap and the PodMonitor come from this chart by themselves.
*/}}

{{- define "sidecar.podLabels" -}}
sidecar/release: {{ .Release.Name | quote }}
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sidecar.podAnnotations" -}}
{{- /* What only a restart brings about is in the pod's template, and so a change of it rolls the pods. */ -}}
sidecar/needs-restart: {{ include "sidecar.needsRestart" . | sha256sum | trunc 16 | quote }}
{{- if .Values.metrics.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .Values.ports.admin | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sidecar.gracePeriodSeconds" -}}
{{- include "sidecar.validate" . -}}
{{- .Values.shutdown.gracePeriodSeconds | int -}}
{{- end }}

{{- define "sidecar.initContainers" -}}
{{- if eq .Values.mode "native" }}
- {{ include "sidecar.container" . | nindent 2 | trim }}
{{- end }}
{{- end }}

{{- define "sidecar.containers" -}}
{{- if eq .Values.mode "classic" }}
- {{ include "sidecar.container" . | nindent 2 | trim }}
{{- end }}
{{- end }}

{{- define "sidecar.container" -}}
name: sidecar
image: {{ include "sidecar.image" (dict "image" .Values.image "tag" .Chart.AppVersion) }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- if eq .Values.mode "native" }}
restartPolicy: Always
{{- end }}
args:
  - --upstream
  - {{ .Values.upstream | quote }}
  - --listen
  - ":{{ .Values.ports.http }}"
  - --admin
  - ":{{ .Values.ports.admin }}"
  - --config
  - /etc/sidecar/sidecar.yaml
  {{- with .Values.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if or .Values.env .Values.extraEnv (ne (int .Values.ports.admin) 8901) }}
env:
  {{- range $name, $value := .Values.env }}
  - name: {{ $name }}
    {{- /* Helm's numbers are floats, and as text a million of them would be 1e+06. */}}
    value: {{ (kindIs "float64" $value | ternary (toJson $value) (toString $value)) | quote }}
  {{- end }}
  {{- if ne (int .Values.ports.admin) 8901 }}
  # For whoever runs `sidecar status` in the container.
  - name: SIDECAR_ADMIN__LISTEN
    value: ":{{ .Values.ports.admin }}"
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
ports:
  - name: http
    containerPort: {{ .Values.ports.http }}
    protocol: TCP
  - name: admin
    containerPort: {{ .Values.ports.admin }}
    protocol: TCP
startupProbe:
  {{- include "sidecar.probe" (dict "path" "/startupz" "numbers" .Values.startupProbe) | nindent 2 }}
livenessProbe:
  {{- include "sidecar.probe" (dict "path" "/livez" "numbers" .Values.livenessProbe) | nindent 2 }}
readinessProbe:
  {{- include "sidecar.probe" (dict "path" "/readyz" "numbers" .Values.readinessProbe) | nindent 2 }}
lifecycle:
  preStop:
    exec:
      command: [sidecar, drain{{ if ne (int .Values.ports.admin) 8901 }}, --admin, "127.0.0.1:{{ .Values.ports.admin }}"{{ end }}]
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  # The directory, not the file: only so does a change of the ConfigMap arrive in a running container.
  - name: sidecar-config
    mountPath: /etc/sidecar
    readOnly: true
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "sidecar.volumes" -}}
- name: sidecar-config
  configMap:
    name: {{ include "sidecar.name" . }}-sidecar
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sidecar.appLifecycle" -}}
{{- $action := .Values.shutdown.appPreStop -}}
{{- if eq $action "auto" -}}
{{- $action = ternary "sleep" "exec" (semverCompare ">=1.30.0-0" (include "sidecar.kubeVersion" .)) -}}
{{- end -}}
preStop:
  {{- if eq $action "sleep" }}
  sleep:
    seconds: {{ .Values.shutdown.appPreStopSeconds }}
  {{- else }}
  exec:
    command: [sleep, {{ .Values.shutdown.appPreStopSeconds | quote }}]
  {{- end }}
{{- end }}
