"""GPUs by a made-up NVML: what is told is added up, what is not is None."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import pytest

from ollama_proxy.sensors.gpu import GpuReading, Gpus
from ollama_proxy.shares import LONGEST

GB = 1 << 30
OLLAMA = {10, 11}


class NVMLError(Exception):
    pass


class Rates(NamedTuple):
    gpu: int


class Memory(NamedTuple):
    used: int


class Holder(NamedTuple):
    pid: int
    usedGpuMemory: int | None  # NVML's name


class Device:
    """One GPU; what is None is not supported."""

    def __init__(self) -> None:
        self.percent: int | None = 50
        self.milliwatts: int | None = 200_000
        self.millijoules: int | None = 5_000_000
        self.used: int | None = 6 * GB
        self.holders: list[Holder] | None = [Holder(11, 4 * GB), Holder(99, GB)]


class Nvml:
    """As the module pynvml, as far as it is used."""

    NVMLError = NVMLError

    def __init__(self, *devices: Device, broken: str = "") -> None:
        self.devices, self.broken = devices, broken
        self.opened = 0

    def nvmlInit(self) -> None:
        self.opened += 1
        if self.broken:
            raise NVMLError(self.broken)

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Device:
        return self.devices[index]

    @staticmethod
    def _told(value: Any) -> Any:
        if value is None:
            raise NVMLError("Not Supported")
        return value

    def nvmlDeviceGetUtilizationRates(self, device: Device) -> Rates:
        return Rates(self._told(device.percent))

    def nvmlDeviceGetPowerUsage(self, device: Device) -> int:
        return int(self._told(device.milliwatts))

    def nvmlDeviceGetTotalEnergyConsumption(self, device: Device) -> int:
        return int(self._told(device.millijoules))

    def nvmlDeviceGetMemoryInfo(self, device: Device) -> Memory:
        return Memory(self._told(device.used))

    def nvmlDeviceGetComputeRunningProcesses(self, device: Device) -> list[Holder]:
        return list(self._told(device.holders))


def read(gpus: Gpus, at: float) -> GpuReading:
    reading = gpus.read(at, OLLAMA)
    assert reading is not None
    return reading


def of(*devices: Device) -> Gpus:
    return Gpus(lambda: Nvml(*devices))


def test_all_devices_are_added_up() -> None:
    one, other = Device(), Device()
    other.percent, other.used, other.holders = 100, GB, [Holder(10, GB)]
    gpus = of(one, other)
    first = read(gpus, 100.0)
    assert (first.seconds, first.watt_seconds) == (None, None)
    one.millijoules = 5_150_000
    other.millijoules = 5_250_000
    second = read(gpus, 102.0)
    assert second == GpuReading(
        seconds=2 * 0.5 + 2 * 1.0,
        watt_seconds=150 + 250,
        percent=75,
        watts=400,
        memory_bytes=7 * GB,
        ollama_bytes=5 * GB,
    )
    assert gpus.status == "2 NVIDIA GPUs"


def test_without_a_counter_the_power_now_stands_for_the_time_since() -> None:
    device = Device()
    device.millijoules = None
    gpus = of(device)
    read(gpus, 0.0)
    assert read(gpus, 1.5).watt_seconds == 300


def test_after_a_pause_only_the_counter_can_tell() -> None:
    counting, other = Device(), Device()
    gpus = of(counting)
    read(gpus, 0.0)
    counting.millijoules = 6_000_000
    after = read(gpus, LONGEST + 1)
    assert (after.seconds, after.watt_seconds) == (None, 1000)
    other.millijoules = None
    gpus = of(other)
    read(gpus, 0.0)
    assert read(gpus, LONGEST + 1).watt_seconds is None


def test_a_counter_that_goes_backwards_tells_nothing() -> None:
    device = Device()
    gpus = of(device)
    read(gpus, 0.0)
    device.millijoules = 3
    assert read(gpus, 1.0).watt_seconds is None
    device.millijoules = 1003
    assert read(gpus, 2.0).watt_seconds == 1


def test_what_one_device_does_not_tell_is_unknown_and_the_rest_is_not() -> None:
    silent = Device()
    silent.percent = silent.used = silent.milliwatts = silent.millijoules = None
    gpus = of(Device(), silent)
    read(gpus, 0.0)
    assert read(gpus, 1.0) == GpuReading(
        seconds=None,
        watt_seconds=None,
        percent=None,
        watts=None,
        memory_bytes=None,
        ollama_bytes=8 * GB,
    )


@pytest.mark.parametrize("holders", [None, [Holder(11, None)]])
def test_memory_is_the_devices_where_it_is_not_told_by_process(
    holders: list[Holder] | None,
) -> None:
    device = Device()
    device.holders = holders
    assert read(of(device), 0.0).ollama_bytes == 6 * GB


def test_ollama_holds_nothing_only_after_it_was_seen_to_hold_something() -> None:
    device = Device()
    device.holders = [Holder(99, GB)]
    gpus = of(device)
    assert read(gpus, 0.0).ollama_bytes is None  # numbers of another container's, for all we know
    device.holders = [Holder(11, 4 * GB)]
    assert read(gpus, 1.0).ollama_bytes == 4 * GB
    device.holders = []
    assert read(gpus, 2.0).ollama_bytes == 0


def test_without_the_extra_it_says_so() -> None:
    def missing() -> None:
        raise ImportError

    gpus = Gpus(missing)
    assert gpus.read(0.0, OLLAMA) is None
    assert (
        gpus.status == "GPUs are not looked at: the extra gpu is missing (pip install nvidia-ml-py)"
    )


def test_without_a_driver_it_says_so_and_tries_once() -> None:
    nvml = Nvml(broken="NVML Shared Library Not Found")
    gpus = Gpus(lambda: nvml)
    for at in range(3):
        assert gpus.read(float(at), OLLAMA) is None
    assert gpus.status == "no NVIDIA GPU can be read: NVML Shared Library Not Found"
    assert nvml.opened == 1


def test_a_driver_without_devices() -> None:
    gpus = of()
    assert gpus.read(0.0, OLLAMA) is None
    assert gpus.status == "0 NVIDIA GPUs"


def test_nothing_is_imported_before_the_first_look() -> None:
    """And then whatever this machine has, or has not, is no error."""
    if "pynvml" not in sys.modules:
        gpus = Gpus()
        assert "pynvml" not in sys.modules
        assert gpus.status == "not looked yet"
    gpus = Gpus()
    gpus.read(0.0, OLLAMA)
    assert gpus.status != "not looked yet"
