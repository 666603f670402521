"""What NVIDIA's GPUs do, by NVML, where the extra `gpu` is installed and there is a driver.

NVML tells memory by process, but use and power only of whole devices: what other programs have a
GPU do is in there. All devices are added up. Not here: other makers' GPUs; whose use it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import Any

import msgspec

from ollama_proxy.shares import LONGEST


class GpuReading(msgspec.Struct, kw_only=True, frozen=True):
    """All GPUs together; None is unknown.

    `seconds` (at 100 %) and `watt_seconds` since the reading before; `percent`, the mean, and
    `watts` now. `memory_bytes` is what all programs hold, `ollama_bytes` what Ollama does: the same
    where NVML does not tell it by process.
    """

    seconds: float | None
    watt_seconds: float | None
    percent: float | None
    watts: float | None
    memory_bytes: int | None
    ollama_bytes: int | None


class _Device(msgspec.Struct, frozen=True):
    """One device now. `millijoules` since its driver was loaded; `holders` are bytes by process."""

    percent: float | None
    watts: float | None
    millijoules: int | None
    memory: int | None
    holders: dict[int, int] | None


class Gpus:
    """Reads all devices. `load` gives the module `pynvml`, or raises ImportError."""

    def __init__(self, load: Callable[[], Any] | None = None) -> None:
        self.status = "not looked yet"
        self._load = _pynvml if load is None else load
        self._nvml: Any = None
        self._tried = False
        self._handles: list[Any] = []
        self._before: tuple[float, list[_Device]] | None = None
        self._ollama_seen = False

    def read(self, at: float, ollama: Set[int]) -> GpuReading | None:
        """None without GPUs that can be read. `ollama`: the processes that are Ollama's."""
        if not self._tried:
            self._tried = True
            self.status = self._open()
        if not self._handles:
            return None
        devices = [self._device(handle) for handle in self._handles]
        before, self._before = self._before, (at, devices)
        percent = _total(device.percent for device in devices)
        return GpuReading(
            seconds=None if before is None else _seconds(devices, at - before[0]),
            watt_seconds=None if before is None else _energy(*before, at, devices),
            percent=None if percent is None else percent / len(devices),
            watts=_total(device.watts for device in devices),
            memory_bytes=_bytes(device.memory for device in devices),
            ollama_bytes=self._ollama_bytes(devices, ollama),
        )

    def _open(self) -> str:
        """Find the devices. Returns what to say of it."""
        try:
            self._nvml = self._load()
        except ImportError:
            return "GPUs are not looked at: the extra gpu is missing (pip install nvidia-ml-py)"
        try:
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
            self._handles = [self._nvml.nvmlDeviceGetHandleByIndex(n) for n in range(count)]
        except self._nvml.NVMLError as error:
            return f"no NVIDIA GPU can be read: {error}"
        return f"{count} NVIDIA {'GPU' if count == 1 else 'GPUs'}"

    def _device(self, handle: Any) -> _Device:
        nvml = self._nvml
        rates = self._told(nvml.nvmlDeviceGetUtilizationRates, handle)
        milliwatts = self._told(nvml.nvmlDeviceGetPowerUsage, handle)
        millijoules = self._told(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        memory = self._told(nvml.nvmlDeviceGetMemoryInfo, handle)
        holders = self._told(nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        return _Device(
            percent=None if rates is None else float(rates.gpu),
            watts=None if milliwatts is None else milliwatts / 1000,
            millijoules=millijoules,
            memory=None if memory is None else int(memory.used),
            holders=_by_process(holders),
        )

    def _told(self, ask: Callable[[Any], Any], handle: Any) -> Any:
        """None where this device or driver does not tell."""
        try:
            return ask(handle)
        except self._nvml.NVMLError:
            return None

    def _ollama_bytes(self, devices: list[_Device], ollama: Set[int]) -> int | None:
        """Not seen among the holders, Ollama holds nothing, if it has been seen there before.

        Until then it may be that NVML knows its processes by other numbers, as in a container.
        """
        held: list[int] = []
        for device in devices:
            if device.holders is None:
                return _bytes(device.memory for device in devices)
            held += [size for pid, size in device.holders.items() if pid in ollama]
        self._ollama_seen = self._ollama_seen or bool(held)
        return sum(held) if self._ollama_seen else None


def _by_process(holders: Any) -> dict[int, int] | None:
    if holders is None or any(one.usedGpuMemory is None for one in holders):
        return None
    return {one.pid: one.usedGpuMemory for one in holders}


def _seconds(devices: list[_Device], length: float) -> float | None:
    """Use now, taken for that since the reading before, if that is not too long ago."""
    percent = _total(device.percent for device in devices)
    return None if percent is None or length > LONGEST else percent / 100 * length


def _energy(since: float, before: list[_Device], at: float, now: list[_Device]) -> float | None:
    pairs = zip(before, now, strict=True)
    return _total(_watt_seconds(was, device, at - since) for was, device in pairs)


def _watt_seconds(was: _Device, now: _Device, length: float) -> float | None:
    """By the device's own counter; without one, power now taken for that since."""
    if was.millijoules is not None and now.millijoules is not None:
        used = now.millijoules - was.millijoules
        return used / 1000 if used >= 0 else None
    return None if now.watts is None or length > LONGEST else now.watts * length


def _total(values: Iterable[float | None]) -> float | None:
    """The sum, or None if any is unknown."""
    known: list[float] = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return sum(known)


def _bytes(values: Iterable[int | None]) -> int | None:
    total = _total(values)
    return None if total is None else int(total)


def _pynvml() -> Any:
    import pynvml

    return pynvml
