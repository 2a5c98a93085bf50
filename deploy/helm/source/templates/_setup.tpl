{{/* A set-up job down to its pod's containers. `talks`: whether it speaks to the Kubernetes API. */}}
{{- define "broadaxe.setup.job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .root.Chart.Name }}-{{ .job }}{{ if not (include "broadaxe.setup.hooked" .) }}-install{{ end }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "broadaxe.labels" . | nindent 4 }}
  {{- include "broadaxe.setup.annotations" . | nindent 2 }}
spec:
  backoffLimit: {{ .root.Values.setup.backoffLimit }}
  activeDeadlineSeconds: {{ .root.Values.setup.activeDeadlineSeconds }}
  template:
    metadata:
      labels:
        {{- include "broadaxe.labels" . | nindent 8 }}
    spec:
      restartPolicy: OnFailure
      {{- if .talks }}
      serviceAccountName: {{ include "broadaxe.name" . }}
      {{- end }}
      automountServiceAccountToken: {{ .talks | default false }}
      enableServiceLinks: false
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "broadaxe.podSecurity" . | nindent 8 }}
      {{- with .root.Values.api.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .root.Values.api.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumes:
        - name: tmp
          emptyDir:
            sizeLimit: 64Mi
        {{- with .root.Values.api.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end }}

{{/* `withoutKeys`: it runs before the keys are there. */}}
{{- define "broadaxe.setup.container" -}}
image: {{ include "broadaxe.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- include "broadaxe.containerSecurity" . | nindent 2 }}
envFrom:
  {{- include "broadaxe.envFrom" . | nindent 2 }}
env:
  {{- include "broadaxe.env" . | nindent 2 }}
resources:
  {{- toYaml .root.Values.setup.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- with .root.Values.api.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
