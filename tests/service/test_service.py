# SPDX-License-Identifier: Apache-2.0
"""The unit under a real systemd: start, hang, death, reload, stop."""

import os
import signal
from pathlib import Path

import pytest

from tests.service.conftest import Service, get, labels, metric, wait_until

pytestmark = pytest.mark.kernel(systemd=True)

WEBHOOK = """
[action.hook]
type = "webhook"
url = "http://127.0.0.1:9/"
[[policy]]
name = "root"
mount_point = "/"
[[policy.stage]]
name = "never"
used_above = "99%"
actions = ["hook"]
"""


def test_start_returns_when_the_daemon_is_ready(service: Service) -> None:
    """`systemctl start` succeeds, and the first request after it is answered."""
    started = service.run("start")
    assert started.returncode == 0, service.journal()
    assert "ready" in get("/-/ready").lower()
    assert service.show("ActiveState") == "active"


def test_stuck_engine_is_killed_and_started_again(service: Service) -> None:
    """The watchdog is fed by finished ticks only: a stopped engine is ended, and a new one takes over."""
    service.configure("WatchdogSec=4s")
    service.run("start")
    stuck = service.pid
    os.kill(stuck, signal.SIGSTOP)
    wait_until(lambda: service.show("NRestarts") == "1" and service.show("ActiveState") == "active", 40)
    assert service.pid != stuck
    assert not Path(f"/proc/{stuck}").exists()
    assert "Watchdog timeout" in service.journal()
    wait_until(lambda: get("/-/ready"))


def test_engine_at_its_slowest_feeds_the_watchdog(service: Service) -> None:
    """A slow pace does not look like a hang: the engine ticks often enough for the watchdog that it has."""
    service.configure("WatchdogSec=3s", '[daemon]\ninterval = "60s"\n')
    service.run("start")
    before = metric("overlaywatch_last_tick_timestamp_seconds")
    wait_until(lambda: metric("overlaywatch_last_tick_timestamp_seconds") > before + 5)
    assert service.show("NRestarts") == "0"


def test_killed_engine_comes_back_with_one_frontend(service: Service) -> None:
    """After SIGKILL the frontend is gone, too, and a new pair is there a second later."""
    service.run("start")
    engine, frontend = service.pid, service.frontend
    os.kill(engine, signal.SIGKILL)
    wait_until(lambda: service.show("NRestarts") == "1" and service.show("ActiveState") == "active")
    assert not {engine, frontend} & {service.pid, service.frontend}
    assert sorted(service.processes()) == sorted([service.pid, service.frontend])


def test_killed_frontend_is_replaced_by_the_same_engine(service: Service) -> None:
    """The frontend's death costs the engine nothing: it forks another one, which knows the last tick at once."""
    service.run("start")
    engine, frontend = service.pid, service.frontend
    os.kill(frontend, signal.SIGKILL)
    assert wait_until(lambda: service.frontend != frontend and get("/-/ready")) < 5
    assert (service.pid, service.show("NRestarts")) == (engine, "0")


def test_reload_takes_a_good_configuration_and_refuses_a_bad_one(service: Service) -> None:
    """`systemctl reload` swaps all or nothing, and the process stays the same."""
    service.configure(config=WEBHOOK)
    service.run("start")
    engine, before = service.pid, labels("overlaywatch_config_info")
    service.configure(config=WEBHOOK.replace("99%", "98%"))
    assert service.run("reload").returncode == 0
    wait_until(lambda: labels("overlaywatch_config_info") != before)
    taken = labels("overlaywatch_config_info")
    service.configure(config=WEBHOOK.replace("99%", "much"))
    service.run("reload")
    wait_until(lambda: metric("overlaywatch_config_last_reload_successful") == 0)
    assert (labels("overlaywatch_config_info"), service.pid) == (taken, engine)
    assert service.show("ActiveState") == "active"


def test_wrong_configuration_ends_with_78_and_no_retry(service: Service) -> None:
    """What trying again cannot put right is not tried again, and the journal says where the mistake is."""
    service.configure(config='[daemon]\ninterval = "soon"\n')
    assert service.run("start").returncode != 0
    assert (service.show("ExecMainStatus"), service.show("NRestarts")) == ("78", "0")
    assert "/etc/overlaywatch/overlaywatch.toml" in service.journal()
    assert "interval" in service.journal()


def test_stop_is_clean_and_keeps_the_state(service: Service) -> None:
    """SIGTERM ends both processes, successfully; budgets and cooldowns stay for the next start."""
    service.run("start")
    pids = service.processes()
    assert len(pids) == 2
    service.run("stop")
    assert (service.show("Result"), service.show("ActiveState")) == ("success", "inactive")
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert Path("/run/overlaywatch/state").exists()
