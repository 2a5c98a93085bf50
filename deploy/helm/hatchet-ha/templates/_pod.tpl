{{/* What the pods of engine and API server have in common, before their containers. */}}
{{- define "broadaxe.podHead" -}}
{{- $values := index .root.Values .service -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: {{ include "broadaxe.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
securityContext:
  {{- include "broadaxe.podSecurity" . | nindent 2 }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml $values.topologySpreadConstraints | nindent 2 }}
{{- else if .root.Values.topologySpread.enabled }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "broadaxe.selector" . | nindent 8 }}
{{- end }}
{{- end }}

{{- define "broadaxe.podMetadata" -}}
{{- $values := index .root.Values .service -}}
labels:
  {{- include "broadaxe.labels" . | nindent 2 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  # A changed setting means new pods.
  broadaxe/configuration: {{ include "broadaxe.configuration" . | sha256sum }}
  {{- with $values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "broadaxe.container" -}}
{{- $values := index .root.Values .service -}}
image: {{ include "broadaxe.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- include "broadaxe.containerSecurity" . | nindent 2 }}
envFrom:
  {{- include "broadaxe.envFrom" . | nindent 2 }}
env:
  {{- include "broadaxe.env" . | nindent 2 }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if .root.Values.otel.certificate.existingSecret }}
  - name: otel-certificate
    mountPath: /etc/broadaxe/otel
    readOnly: true
  {{- end }}
  {{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "broadaxe.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- with .root.Values.otel.certificate }}
{{- if .existingSecret }}
- name: otel-certificate
  secret:
    secretName: {{ .existingSecret }}
    items:
      - key: {{ .key }}
        path: {{ .key }}
{{- end }}
{{- end }}
{{- with (index .root.Values .service).extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "broadaxe.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "broadaxe.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "broadaxe.labels" . | nindent 4 }}
  {{- with .root.Values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}

{{/* `backend`: the port's name; the service's own values decide the rest. */}}
{{- define "broadaxe.ingress" -}}
{{- $values := index .root.Values .service -}}
{{- if $values.ingress.enabled -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ include "broadaxe.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "broadaxe.labels" . | nindent 4 }}
  {{- with $values.ingress.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with $values.ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with $values.ingress.tls }}
  tls:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- range $values.ingress.hosts }}
    - host: {{ .host | quote }}
      http:
        paths:
          {{- range .paths | default (list (dict "path" "/" "pathType" "Prefix")) }}
          - path: {{ .path }}
            pathType: {{ .pathType | default "Prefix" }}
            backend:
              service:
                name: {{ include "broadaxe.name" $ }}
                port:
                  name: {{ $.backend }}
          {{- end }}
    {{- end }}
{{- end }}
{{- end }}
