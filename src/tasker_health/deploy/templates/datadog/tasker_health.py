"""A check of the Datadog Agent (7.32 or newer) for Tasker Health: written by `tasker-health deploy datadog`.

It reads /metrics and tells what it finds under the names that DogStatsD has there, and /live at the guard.
"""

from datadog_checks.base import AgentCheck, OpenMetricsBaseCheckV2
from datadog_checks.base.utils.http import RequestsWrapper

GUIDE = {
<% for name, told in guide.items() %>
    "<< name >>": "<< told >>",
<% endfor %>
}

OF_STATUS = {"healthy": AgentCheck.OK, "degraded": AgentCheck.WARNING, "unhealthy": AgentCheck.CRITICAL}
OF_CHECK = {
    "ok": AgentCheck.OK,
    "degraded": AgentCheck.WARNING,
    "error": AgentCheck.CRITICAL,
    "unknown": AgentCheck.UNKNOWN,
}
TRANSFORMED = "|".join([*GUIDE, "ready", "status", "check_state"])


class TaskerHealthCheck(OpenMetricsBaseCheckV2):
    """One server."""

    __NAMESPACE__ = "tasker.health"
    DEFAULT_METRIC_LIMIT = 0  # the service itself bounds how many there are

    def get_default_config(self):
        """What is told as it is: names without their prefix, and of a histogram the count and the sum."""
        return {
            "raw_metric_prefix": "tasker_health_",
            "metrics": [f"^(?!(?:{TRANSFORMED})$)(?!tasker_)[a-z]"],
            "collect_histogram_buckets": False,
            # Tags of the instance say which service it is, and `version` is taken for that of the service.
            "exclude_labels": ["service"],
            "rename_labels": {"version": "tasker_health_version"},
        }

    def create_scraper(self, config):
        """Return a scraper that knows the guide's names, and what is a service check as well."""
        scraper = super().create_scraper(config)
        add = scraper.metric_transformer.add_custom_transformer
        for name, told in GUIDE.items():
            add(name, self._guide(told))
        add("ready", self._ready)
        add("status", self._status)
        add("check_state", self._check_state)
        return scraper

    def check(self, instance):
        """Ask both; when the metrics cannot be read, it is not known whether it is ready, nor how the system is."""
        self._live()
        try:
            super().check(instance)
        except Exception:
            for name in ("ready", "status"):
                self.service_check(name, AgentCheck.UNKNOWN, tags=self.instance.get("tags", []))
            raise

    def _live(self):
        url = self.instance.get("live_url")
        if not url:
            return
        shared = ("tls_ca_cert", "tls_verify", "skip_proxy")
        options = {name: self.instance[name] for name in shared if name in self.instance}
        # Without the token, which this endpoint does not need: its port may speak no TLS.
        http = RequestsWrapper({"timeout": 2, **options}, self.init_config)
        try:
            code = http.get(url).status_code
        except Exception as error:
            self.log.debug("%s: %s", url, error)
            code = None
        alive = AgentCheck.OK if code == 200 else AgentCheck.CRITICAL
        self.service_check("live", alive, tags=self.instance.get("tags", []))

    def _guide(self, told):
        def transform(metric, sample_data, runtime_data):
            for sample, tags, hostname in sample_data:
                self.gauge(told, sample.value, tags=tags, hostname=hostname, raw=True)

        return transform

    def _ready(self, metric, sample_data, runtime_data):
        for sample, tags, hostname in sample_data:
            self.gauge("ready", sample.value, tags=tags, hostname=hostname)
            ready = AgentCheck.OK if sample.value else AgentCheck.CRITICAL
            self.service_check("ready", ready, tags=self.instance.get("tags", []), hostname=hostname)

    def _status(self, metric, sample_data, runtime_data):
        for sample, tags, hostname in sample_data:
            self.gauge("status", sample.value, tags=tags, hostname=hostname)
            if sample.value:
                status = OF_STATUS.get(sample.labels["status"], AgentCheck.UNKNOWN)
                self.service_check("status", status, tags=self.instance.get("tags", []), hostname=hostname)

    def _check_state(self, metric, sample_data, runtime_data):
        for sample, tags, hostname in sample_data:
            self.gauge("check_state", sample.value, tags=tags, hostname=hostname)
            if sample.value:
                state = OF_CHECK.get(sample.labels["state"], AgentCheck.UNKNOWN)
                own = [*self.instance.get("tags", []), f"check:{sample.labels['check']}"]
                self.service_check("check", state, tags=own, hostname=hostname)
