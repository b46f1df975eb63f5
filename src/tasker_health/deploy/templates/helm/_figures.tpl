{{- define "figures.agree" -}}
{{- $ready := .Values.probes.readiness -}}
{{- $live := .Values.probes.liveness -}}
{{- $deadline := index .Values.environment "TASKER_HEALTH__READINESS_TIMEOUT_SECONDS" -}}
{{- if le (float64 $ready.timeoutSeconds) (float64 $deadline) -}}
{{- fail (printf "probes.readiness.timeoutSeconds = %v: more than TASKER_HEALTH__READINESS_TIMEOUT_SECONDS = %v, or there is no answer to be seen" $ready.timeoutSeconds $deadline) -}}
{{- end -}}
{{- if le (float64 .Values.drainSeconds) (mulf $ready.periodSeconds $ready.failureThreshold) -}}
{{- fail (printf "drainSeconds = %v: more than probes.readiness.periodSeconds times failureThreshold, %v" .Values.drainSeconds (mulf $ready.periodSeconds $ready.failureThreshold)) -}}
{{- end -}}
{{- if or (gt (float64 $ready.timeoutSeconds) (float64 $ready.periodSeconds)) (gt (float64 $live.timeoutSeconds) (float64 $live.periodSeconds)) -}}
{{- fail "probes: a timeoutSeconds is longer than its periodSeconds; make it at most as long" -}}
{{- end -}}
{{- end -}}
