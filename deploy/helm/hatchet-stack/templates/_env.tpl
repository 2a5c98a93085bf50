{{/*
How a service's environment comes about, the later wins (which is what Kubernetes does with it):
  1. ConfigMap and Secret of the service: what the chart's own values mean (sharedConfig.*, otel, postgres)
  2. the Secret of the keys
  3. <service>.deploymentEnvFrom
  4. sharedConfig.env
  5. <service>.env
*/}}

{{/* A value of an `env` map as text; YAML's numbers come as floats. */}}
{{- define "broadaxe.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ printf "%.0f" . }}{{- else -}}{{ toString . }}{{- end -}}
{{- end }}

{{/* 4 and 5 as one map. Not `merge`: that one takes an empty text for an absent one. */}}
{{- define "broadaxe.given" -}}
{{- $given := dict -}}
{{- $values := .root.Values -}}
{{- if $values.sharedConfig.enabled -}}
{{- range $name, $value := $values.sharedConfig.env -}}{{- $_ := set $given $name $value -}}{{- end -}}
{{- end -}}
{{- $service := ternary "api" .service (eq .service "setup") -}}
{{- range $name, $value := (index $values $service).env -}}{{- $_ := set $given $name $value -}}{{- end -}}
{{- toYaml $given -}}
{{- end }}

{{/* Whether a variable is a secret: those of the settings' reference, and what looks like one. */}}
{{- define "broadaxe.isSecret" -}}
{{- $listed := splitList "\n" (.root.Files.Get "files/secret-variables.txt") -}}
{{- if or (has .name $listed) (regexMatch "(PASSWORD|SECRET|SECRETS|TOKEN|API_KEY|PRIVATE_KEY|DSN)$" .name) -}}true{{- end -}}
{{- end }}

{{/* 1, without secrets. */}}
{{- define "broadaxe.defaults" -}}
{{- $values := .root.Values -}}
{{- $shared := $values.sharedConfig -}}
SERVER_LOGGER_FORMAT: json
{{- if $shared.enabled }}
SERVER_URL: {{ $shared.serverUrl | quote }}
SERVER_AUTH_COOKIE_DOMAIN: {{ $shared.serverAuthCookieDomain | quote }}
SERVER_AUTH_COOKIE_INSECURE: {{ $shared.serverAuthCookieInsecure | quote }}
SERVER_AUTH_SET_EMAIL_VERIFIED: {{ $shared.serverAuthSetEmailVerified | quote }}
SERVER_AUTH_BASIC_AUTH_ENABLED: {{ $shared.serverAuthBasicAuthEnabled | quote }}
SERVER_GRPC_BROADCAST_ADDRESS: {{ $shared.grpcBroadcastAddress | quote }}
SERVER_GRPC_INSECURE: {{ $shared.grpcInsecure | quote }}
{{- end }}
{{- if $values.postgres.enabled }}
DATABASE_POSTGRES_HOST: {{ include "broadaxe.name" (dict "root" .root "service" "postgres") }}
DATABASE_POSTGRES_PORT: "5432"
DATABASE_POSTGRES_USERNAME: {{ $values.postgres.auth.username | quote }}
DATABASE_POSTGRES_DB_NAME: {{ $values.postgres.auth.database | quote }}
DATABASE_POSTGRES_SSL_MODE: disable
{{- end }}
{{- if eq .service "setup" }}
{{- if $shared.enabled }}
ADMIN_EMAIL: {{ $shared.defaultAdminEmail | quote }}
{{- end }}
{{- else }}
SERVER_SHUTDOWN_WAIT: 5s
{{- $front := include "broadaxe.front" .root }}
{{- if ne .service "api" }}
{{- with index (include "broadaxe.roles" .root | fromJson) .service }}
SERVER_SERVICES: {{ . }}
{{- end }}
{{- if eq .service $front }}
SERVER_GRPC_BIND_ADDRESS: 0.0.0.0
SERVER_GRPC_PORT: "7070"
{{- end }}
SERVER_HEALTHCHECK: "true"
SERVER_HEALTHCHECK_PORT: "8733"
{{- else }}
SERVER_PORT: "8080"
{{- $engine := include "broadaxe.name" (dict "root" .root "service" $front) }}
SERVER_INTERNAL_CLIENT_INTERNAL_GRPC_BROADCAST_ADDRESS: {{ printf "%s:%v" $engine (index $values $front).service.port }}
{{- end }}
{{- with $values.otel }}
SERVER_OTEL_SERVICE_NAME: {{ index .serviceName $.service | quote }}
{{- if .collectorURL }}
SERVER_OTEL_COLLECTOR_URL: {{ .collectorURL | quote }}
{{- end }}
SERVER_OTEL_INSECURE: {{ .insecure | quote }}
SERVER_OTEL_TRACE_ID_RATIO: {{ .traceIdRatio | quote }}
SERVER_OTEL_METRICS_ENABLED: {{ .metricsEnabled | quote }}
{{- if .certificate.existingSecret }}
OTEL_EXPORTER_OTLP_CERTIFICATE: {{ printf "/etc/broadaxe/otel/%s" .certificate.key }}
{{- end }}
{{- end }}
{{- if $values.prometheus.enabled }}
SERVER_PROMETHEUS_ENABLED: "true"
SERVER_PROMETHEUS_ADDRESS: {{ printf ":%v" $values.prometheus.port }}
{{- end }}
{{- end }}
{{- end }}

{{/* The service's own Secret: 1's secrets, and those of 4 and 5, which `env` refers to. */}}
{{- define "broadaxe.secrets" -}}
{{- $secrets := dict -}}
{{- if and (eq .service "setup") .root.Values.sharedConfig.enabled -}}
{{- $_ := set $secrets "ADMIN_PASSWORD" .root.Values.sharedConfig.defaultAdminPassword -}}
{{- end -}}
{{- range $name, $value := include "broadaxe.given" . | fromYaml -}}
{{- if and (not (kindIs "map" $value)) (include "broadaxe.isSecret" (dict "root" $.root "name" $name)) -}}
{{- $_ := set $secrets $name (include "broadaxe.text" $value) -}}
{{- end -}}
{{- end -}}
{{- if $secrets -}}{{- toYaml $secrets -}}{{- end -}}
{{- end }}

{{/* Layers 1 to 3. */}}
{{- define "broadaxe.envFrom" -}}
{{- $name := include "broadaxe.name" . -}}
- configMapRef:
    name: {{ $name }}-config
{{- if include "broadaxe.secrets" . }}
- secretRef:
    name: {{ $name }}-env
{{- end }}
{{- with .root.Values.api.quickstartJob }}
- secretRef:
    name: {{ .secretName }}
    {{- if or (not .enabled) $.withoutKeys }}
    optional: true
    {{- end }}
{{- end }}
{{- $service := ternary "api" .service (eq .service "setup") }}
{{- with (index .root.Values $service).deploymentEnvFrom }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Layers 4 and 5, and what can only come from a reference: these only where `env` is silent. */}}
{{- define "broadaxe.env" -}}
{{- $given := include "broadaxe.given" . | fromYaml -}}
{{- $name := include "broadaxe.name" . -}}
{{- $values := .root.Values -}}
{{- if not (hasKey $given "K8S_POD_NAME") }}
- name: K8S_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- if not (hasKey $given "K8S_POD_NAMESPACE") }}
- name: K8S_POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end }}
{{- if and $values.postgres.enabled (not (hasKey $given "DATABASE_URL")) (not (hasKey $given "DATABASE_POSTGRES_PASSWORD")) }}
- name: DATABASE_POSTGRES_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "broadaxe.postgres.secret" . }}
      key: password
{{- end }}
{{- if and $values.otel.collectorAuth.existingSecret (ne .service "setup") (not (hasKey $given "SERVER_OTEL_COLLECTOR_AUTH")) }}
- name: SERVER_OTEL_COLLECTOR_AUTH
  valueFrom:
    secretKeyRef:
      name: {{ $values.otel.collectorAuth.existingSecret }}
      key: {{ $values.otel.collectorAuth.key }}
{{- end }}
{{- range $variable, $value := $given }}
{{- if kindIs "map" $value }}
- name: {{ $variable }}
  {{- toYaml $value | nindent 2 }}
{{- else if include "broadaxe.isSecret" (dict "root" $.root "name" $variable) }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $name }}-env
      key: {{ $variable }}
{{- else }}
- name: {{ $variable }}
  value: {{ include "broadaxe.text" $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* ConfigMap and Secret of a service. */}}
{{- define "broadaxe.configuration" -}}
{{- $name := include "broadaxe.name" . -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $name }}-config
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "broadaxe.labels" . | nindent 4 }}
  {{- .annotations | default "" | nindent 2 }}
data:
  {{- include "broadaxe.defaults" . | nindent 2 }}
{{- with include "broadaxe.secrets" . }}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ $name }}-env
  namespace: {{ $.root.Release.Namespace }}
  labels:
    {{- include "broadaxe.labels" $ | nindent 4 }}
  {{- $.annotations | default "" | nindent 2 }}
type: Opaque
stringData:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Stops a rendering that could only fail later: no database anywhere. */}}
{{- define "broadaxe.requireDatabase" -}}
{{- if not .root.Values.postgres.enabled -}}
{{- $given := include "broadaxe.given" . | fromYaml -}}
{{- if not (or (hasKey $given "DATABASE_URL") (hasKey $given "DATABASE_POSTGRES_HOST") (index .root.Values .service).deploymentEnvFrom) -}}
{{- fail (printf "postgres.enabled is false and %s has no database: set DATABASE_URL (or DATABASE_POSTGRES_*) in sharedConfig.env or %s.env, or name a Secret with it in %s.deploymentEnvFrom" .service .service .service) -}}
{{- end -}}
{{- end -}}
{{- end }}
