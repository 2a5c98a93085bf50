{{/* What was set and has no effect, or less than one may think. */}}
{{- define "broadaxe.warnings" -}}
{{- $values := .Values -}}
{{- if $values.rabbitmq.enabled }}
WARNING: rabbitmq.enabled has no effect: PostgreSQL carries the messages, no broker is started.
{{- end }}
{{- if $values.caddy.enabled }}
WARNING: caddy.enabled has no effect: the API server serves REST and dashboard on one port itself.
{{- end }}
{{- range $service := include "broadaxe.backends" . | fromJsonArray }}
{{- $given := include "broadaxe.given" (dict "root" $ "service" $service) | fromYaml }}
{{- if hasKey $given "SERVER_MSGQUEUE_RABBITMQ_URL" }}
WARNING: SERVER_MSGQUEUE_RABBITMQ_URL ({{ $service }}) has no effect: PostgreSQL carries the messages.
{{- end }}
{{- if contains "hatchet-dev/hatchet" (index $values $service).image.repository }}
WARNING: {{ $service }}.image.repository names an image of Hatchet, which does not run here: remove it.
{{- end }}
{{- if and $values.postgres.enabled (or (hasKey $given "DATABASE_URL") (hasKey $given "DATABASE_POSTGRES_HOST")) }}
WARNING: {{ $service }} uses the database of its env, but postgres.enabled is true: the trial database runs for nothing.
{{- end }}
{{- end }}
{{- if $values.postgres.enabled }}
WARNING: postgres.enabled is for a trial: one pod without backups. For real use set postgres.enabled=false and DATABASE_URL.
{{- end }}
{{- if and $values.sharedConfig.enabled (eq $values.sharedConfig.defaultAdminPassword "Admin123!!") $values.api.seedJob.enabled (not (hasKey (include "broadaxe.given" (dict "root" $ "service" "setup") | fromYaml) "ADMIN_PASSWORD")) }}
WARNING: the administrator has the default password: set sharedConfig.defaultAdminPassword before the first install.
{{- end }}
{{- if and $values.prometheus.serviceMonitor.enabled (not $values.prometheus.enabled) }}
WARNING: prometheus.serviceMonitor.enabled has no effect without prometheus.enabled.
{{- end }}
{{- include "broadaxe.unknown" (dict "given" (omit $values "global") "known" (.Files.Get "files/known-values.yaml" | fromYaml) "path" "") }}
{{- end }}

{{/* Keys of a values file that the chart does not know, two levels deep. */}}
{{- define "broadaxe.unknown" -}}
{{- range $key, $value := .given }}
{{- if not (hasKey $.known $key) }}
WARNING: {{ $.path }}{{ $key }} is not a value of this chart and has no effect.
{{- else if and (kindIs "map" $value) (kindIs "map" (index $.known $key)) (index $.known $key) }}
{{- include "broadaxe.unknown" (dict "given" $value "known" (index $.known $key) "path" (printf "%s%s." $.path $key)) }}
{{- end }}
{{- end }}
{{- end }}
