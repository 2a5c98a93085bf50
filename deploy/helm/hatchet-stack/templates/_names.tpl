{{/* The name of a service: engine, api, setup, frontend or postgres. */}}
{{- define "hatchet-stack.name" -}}
{{- $values := index .root.Values .service -}}
{{- if eq .service "setup" -}}hatchet-stack-setup
{{- else -}}{{ $values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "hatchet-stack.selector" -}}
app.kubernetes.io/name: {{ include "hatchet-stack.name" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "hatchet-stack.labels" -}}
{{ include "hatchet-stack.selector" . }}
app.kubernetes.io/component: {{ .service }}
app.kubernetes.io/part-of: hatchet-stack
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "hatchet-stack.image" -}}
{{- $values := index .root.Values .service -}}
{{- $tag := $values.image.tag | default .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- if .root.Values.image.registry }}{{ trimSuffix "/" .root.Values.image.registry }}/{{ end -}}
{{ $values.image.repository }}:{{ $tag }}
{{- end }}

{{/*
Set-up runs before the services (hooks), except at the first install with the trial database: that one only
exists once the release is being installed, so the jobs run beside the services then and retry.
*/}}
{{- define "hatchet-stack.setup.hooked" -}}
{{- if not (and .root.Values.postgres.enabled .root.Release.IsInstall) -}}true{{- end -}}
{{- end }}

{{- define "hatchet-stack.setup.annotations" -}}
{{- if include "hatchet-stack.setup.hooked" . -}}
annotations:
  helm.sh/hook: pre-install,pre-upgrade
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
{{- end }}

{{- define "hatchet-stack.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "hatchet-stack.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The Secret with the trial database's password. */}}
{{- define "hatchet-stack.postgres.secret" -}}
{{- $auth := .root.Values.postgres.auth -}}
{{- $auth.existingSecret | default (include "hatchet-stack.name" (dict "root" .root "service" "postgres")) -}}
{{- end }}
