{{/* The name of a service: one of the engine's, api, setup, frontend or postgres. */}}
{{- define "broadaxe.name" -}}
{{- $values := index .root.Values .service -}}
{{- if eq .service "setup" -}}{{ .root.Chart.Name }}-setup
{{- else -}}{{ $values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "broadaxe.selector" -}}
app.kubernetes.io/name: {{ include "broadaxe.name" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "broadaxe.labels" -}}
{{ include "broadaxe.selector" . }}
app.kubernetes.io/component: {{ .service }}
app.kubernetes.io/part-of: {{ .root.Chart.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "broadaxe.image" -}}
{{- $values := index .root.Values .service -}}
{{- $shared := dig "image" "tag" "" (.root.Values.sharedConfig | default dict) -}}
{{- $tag := $values.image.tag | default .root.Values.image.tag | default $shared | default .root.Chart.AppVersion -}}
{{- if .root.Values.image.registry }}{{ trimSuffix "/" .root.Values.image.registry }}/{{ end -}}
{{ $values.image.repository }}:{{ $tag }}
{{- end }}

{{/*
Set-up runs before the services (hooks), except at the first install with the trial database: that one only
exists once the release is being installed, so the jobs run beside the services then and retry.
*/}}
{{- define "broadaxe.setup.hooked" -}}
{{- if not (and .root.Values.postgres.enabled .root.Release.IsInstall) -}}true{{- end -}}
{{- end }}

{{- define "broadaxe.setup.annotations" -}}
{{- if include "broadaxe.setup.hooked" . -}}
annotations:
  helm.sh/hook: pre-install,pre-upgrade
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
{{- end }}

{{- define "broadaxe.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "broadaxe.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The Secret with the trial database's password. */}}
{{- define "broadaxe.postgres.secret" -}}
{{- $auth := .root.Values.postgres.auth -}}
{{- $auth.existingSecret | default (include "broadaxe.name" (dict "root" .root "service" "postgres")) -}}
{{- end }}
