{{/* What decides how many pods of a service there are: an autoscaler and a budget, each when it is enabled. */}}
{{- define "broadaxe.scaling" -}}
{{- $values := index .root.Values .service -}}
{{- $name := include "broadaxe.name" . -}}
{{- if $values.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "broadaxe.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ $name }}
  minReplicas: {{ $values.autoscaling.minReplicas }}
  maxReplicas: {{ $values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ $values.autoscaling.targetCPUUtilizationPercentage }}
{{- end }}
{{- if $values.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "broadaxe.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ $values.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "broadaxe.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{/*
How pods of the engine are replaced. A whole engine is ready only once the old one has given the lease up, so the
old one must be allowed to go first: with maxUnavailable 0 a change would wait for ever. Of the parts, the one that
clients reach stays until its successor is ready.
*/}}
{{- define "broadaxe.engineStrategy" -}}
strategy:
  type: RollingUpdate
  rollingUpdate:
    maxSurge: 1
    {{- if not (index (include "broadaxe.roles" .root | fromJson) .service) }}
    maxUnavailable: {{ max 1 (int (index .root.Values .service).replicaCount) }}
    {{- else }}
    maxUnavailable: {{ ternary 0 1 (eq .service (include "broadaxe.front" .root)) }}
    {{- end }}
{{- end }}
