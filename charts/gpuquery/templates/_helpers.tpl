{{- define "gpuquery.fullname" -}}
{{- if contains "gpuquery" .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-gpuquery" .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "gpuquery.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "gpuquery.fullname" .) }}
{{- end -}}

{{- define "gpuquery.selector" -}}
app.kubernetes.io/name: gpuquery
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gpuquery.labels" -}}
{{ include "gpuquery.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: gpuquery
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "gpuquery.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "gpuquery.runtimeImage" -}}
{{- .Values.runtime.image | default (printf "%s/gpuquery-runtime:%s" (dir .Values.image.repository) .Chart.AppVersion) -}}
{{- end -}}

{{/*
What the operator may do where its jobs are. It reads no Secret: credentials go from the user's to the user's pods. Of
Secrets, ConfigMaps, Services and NetworkPolicies it changes and deletes none: what it makes belongs to a Job or to a
GpuQueryJob, and the garbage collector takes it with that.
*/}}
{{- define "gpuquery.rules" -}}
- apiGroups: [gpuquery.io]
  resources: [gpuqueryjobs]
  verbs: [get, list, watch, delete]  # delete: ttlSecondsAfterFinished
- apiGroups: [gpuquery.io]
  resources: [gpuqueryjobs/status]
  verbs: [patch]
- apiGroups: [gpuquery.io]
  resources: [gpuqueryjobs/finalizers]
  verbs: [update]  # owner references that block deletion
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, create]  # of a set of ranks; get also finds the scheduler of dask.clusterRef
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create]  # the plan; get also reads query.configMapKeyRef
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]  # the token with which the pods of an attempt authenticate; it is never read
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, create]
- apiGroups: [""]
  resources: [events]
  verbs: [list]  # why pods are refused (quota, admission), or what they cannot mount
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]  # annotations with the defaults of a namespace's jobs
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- if .Values.dask.operator.enabled }}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters]
  verbs: [get, list, watch, create, delete]  # dask.backend: operator
- apiGroups: [kubernetes.dask.org]
  resources: [daskworkergroups]
  verbs: [list, delete]  # those that outlive the DaskCluster of their job, because dask-kubernetes set no owner
{{- else if .Values.dask.attach.enabled }}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters]
  verbs: [get, list]  # dask.clusterRef
{{- end }}
{{- end -}}

{{/* Quantities may be written without quotes in values; the operator reads them as texts. */}}
{{- define "gpuquery.resources" -}}
{{- $all := dict -}}
{{- range $kind := list "requests" "limits" -}}
{{- $amounts := dict -}}
{{- range $name, $amount := (get ($ | default dict) $kind | default dict) -}}
{{- $_ := set $amounts $name (toString $amount) -}}
{{- end -}}
{{- $_ := set $all $kind $amounts -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}
