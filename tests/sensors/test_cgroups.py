"""What a control group tells: the systemd unit or the app, and the container."""

from __future__ import annotations

import pytest

from ollama_proxy.sensors.cgroups import container_of, service_of

ID = "0123456789ab" + "cdef" * 13
USER = "0::/user.slice/user-1000.slice/user@1000.service/"


@pytest.mark.parametrize(
    ("cgroup", "service", "container"),
    [
        ("0::/\n", None, None),
        ("", None, None),
        ("no colons\n::\n", None, None),
        ("0::/system.slice/nightly-embed.service\n", "nightly-embed.service", None),
        ("0::/system.slice/ollama@gpu1.service/worker\n", "ollama@gpu1.service", None),
        ("0::/system.slice/outer.service/inner.service\n", "inner.service", None),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", None, None),
        ("0::/init.scope\n", None, None),
        (USER + "app.slice/notes.service\n", "notes.service", None),
        (USER + "init.scope\n", None, None),
        (USER + "app.slice/app-gnome-org.gnome.Evince-2313.scope\n", "org.gnome.Evince", None),
        (USER + "app.slice/app-org.kde.kate-0123456789abcdef01.scope\n", "org.kde.kate", None),
        (USER + "app.slice/app-code.scope\n", "code", None),
        (USER + "app.slice/app-my\\x2dapp@autostart.service\n", "my-app", None),
        (USER + "app.slice/app-org.gnome.Terminal.slice/vte-spawn-1f2e.scope\n", None, None),
        (f"0::/system.slice/docker-{ID}.scope\n", None, ID[:12]),
        (f"0::/docker/{ID}\n", None, ID[:12]),
        (f"0::/../{ID}\n", None, ID[:12]),
        (USER + f"user.slice/libpod-{ID}.scope/container\n", None, ID[:12]),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope\n", None, ID[:12]),
        (f"0::/docker/{ID}/system.slice/job.service\n", "job.service", ID[:12]),
        (f"9:name=systemd:/docker/{ID}\n4:memory:/docker/{ID}\n0::/\n", None, ID[:12]),
        ("4:memory:/x.service\n1:name=systemd:/system.slice/a.service\n", "a.service", None),
        ("0::/system.slice/docker-0123.scope\n", None, None),
        ("0::/system.slice/\x1b[31m.service\n", "\ufffd[31m.service", None),
        ("0::/app-.scope\n", None, None),
    ],
)
def test_unit_and_container(cgroup: str, service: str | None, container: str | None) -> None:
    assert service_of(cgroup) == service
    assert container_of(cgroup) == container


def test_a_long_name_is_cut() -> None:
    told = service_of("0::/" + "x" * 300 + ".service")
    assert told is not None and len(told) == 80
