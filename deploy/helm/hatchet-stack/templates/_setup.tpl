{{/* A set-up job down to its pod's containers. `talks`: whether it speaks to the Kubernetes API. */}}
{{- define "hatchet-stack.setup.job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ printf "hatchet-stack-%s" .job }}{{ if not (include "hatchet-stack.setup.hooked" .) }}-install{{ end }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "hatchet-stack.labels" . | nindent 4 }}
  {{- include "hatchet-stack.setup.annotations" . | nindent 2 }}
spec:
  backoffLimit: {{ .root.Values.setup.backoffLimit }}
  activeDeadlineSeconds: {{ .root.Values.setup.activeDeadlineSeconds }}
  template:
    metadata:
      labels:
        {{- include "hatchet-stack.labels" . | nindent 8 }}
    spec:
      restartPolicy: OnFailure
      {{- if .talks }}
      serviceAccountName: {{ include "hatchet-stack.name" . }}
      {{- end }}
      automountServiceAccountToken: {{ .talks | default false }}
      enableServiceLinks: false
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "hatchet-stack.podSecurity" . | nindent 8 }}
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
{{- define "hatchet-stack.setup.container" -}}
image: {{ include "hatchet-stack.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- include "hatchet-stack.containerSecurity" . | nindent 2 }}
envFrom:
  {{- include "hatchet-stack.envFrom" . | nindent 2 }}
env:
  {{- include "hatchet-stack.env" . | nindent 2 }}
resources:
  {{- toYaml .root.Values.setup.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- with .root.Values.api.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
