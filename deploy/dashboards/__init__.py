"""The Grafana dashboards, written down once; `generate.py` turns them into JSON.

Every query uses only metrics that `docs/telemetry.md` declares (a test holds it to that). `$job` and
`$instance` come from the scrape: one job for the engines, one for the API servers.
"""

from dashboards.api import API
from dashboards.engine import ENGINE
from dashboards.postgresql import POSTGRESQL
from dashboards.telemetry import TELEMETRY

DASHBOARDS = {"engine": ENGINE, "api": API, "postgresql": POSTGRESQL, "telemetry": TELEMETRY}
