"""A served head under load: throughput against offline predict, latencies, and a flood of bad requests.

    python -m benchmarks.serve PROJECT STORE/HEAD FOLDER [SECONDS]

PROJECT holds the fitted head of pictures, FOLDER pictures. The server is a process of its own; the clients run in this
one, on the same cores. Printed are JSON lines.
"""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

CLIENTS, FLOOD_CLIENTS, FLOOD_S = 8, 100, 20


def cpu_s(pid: int) -> float:
    """Seconds of CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def memory_mib(pid: int, key: str = "VmRSS") -> int:
    """A process's memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) // 1024


def start(project: Path, head: str) -> tuple[subprocess.Popen[str], str, float]:
    """The server's process, its address, and when it was started."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "icebox", "serve", head, "--port", "0"], cwd=project, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    url = process.stderr.readline().split()[1]
    return process, url, begin


async def client(
    url: str, contents: list[bytes], until: float, times: list[float], bad: list[str], *, per: int
) -> None:
    """One client: a request after the other, of `per` pictures each."""
    async with httpx.AsyncClient(timeout=60) as session:
        while time.perf_counter() < until:
            picked = [("images", ("a.jpg", each)) for each in random.sample(contents, per)]
            begin = time.perf_counter()
            response = await session.post(f"{url}/predict", files=picked)
            times.append(time.perf_counter() - begin)
            if response.status_code != 200:
                bad.append(response.text[:200])


async def load(url: str, pid: int, contents: list[bytes], seconds: float, *, per: int) -> dict[str, Any]:
    """CLIENTS clients for so many seconds."""
    times: list[float] = []
    bad: list[str] = []
    begin, begin_cpu_s = time.perf_counter(), cpu_s(pid)
    await asyncio.gather(*(client(url, contents, begin + seconds, times, bad, per=per) for _ in range(CLIENTS)))
    took, times = time.perf_counter() - begin, sorted(times)
    return {
        "clients": CLIENTS,
        "pictures_a_request": per,
        "pictures_per_s": round(per * len(times) / took, 1),
        "cpu_ms_a_picture": round(1000 * (cpu_s(pid) - begin_cpu_s) / (per * len(times)), 1),
        "p50_ms": round(1000 * times[len(times) // 2], 1),
        "p99_ms": round(1000 * times[int(0.99 * len(times))], 1),
        "requests": len(times),
        "errors": len(bad),
    }


async def offender(url: str, number: int, until: float, counts: dict[str, int]) -> None:
    """A client that sends what is too large, broken, or slow."""
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /predict HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="i"; filename="a.jpg"\r\n\r\n'
    while time.perf_counter() < until:
        kind = ("large", "broken", "slow", "bomb", "silent")[number % 5]
        counts[kind] = counts.get(kind, 0) + 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                if kind == "large":
                    writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
                    for _ in range(40):
                        writer.write(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
                        await writer.drain()
                elif kind == "broken":
                    body = part + random.randbytes(20_000) + b"\r\n--b--\r\n"
                    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                elif kind == "bomb":
                    body = part + b"RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f\xff\xff\xff\xff" + bytes(12) + b"\r\n--b--\r\n"
                    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                elif kind == "slow":
                    writer.write(f"{head}Content-Length: 1000\r\n\r\n".encode() + part)
                    await asyncio.sleep(3)
                else:
                    await asyncio.sleep(3)
                await writer.drain()
                await asyncio.wait_for(reader.read(1 << 16), 15)
            finally:
                writer.close()


async def flood(url: str, pid: int, contents: list[bytes], seconds: float) -> dict[str, Any]:
    """FLOOD_CLIENTS bad clients beside two good ones."""
    times: list[float] = []
    bad: list[str] = []
    counts: dict[str, int] = {}
    before, until = memory_mib(pid), time.perf_counter() + seconds
    good = [client(url, contents, until, times, bad, per=1) for _ in range(2)]
    await asyncio.gather(*good, *(offender(url, i, until, counts) for i in range(FLOOD_CLIENTS)))
    async with httpx.AsyncClient(timeout=60) as session:
        alive = (await session.get(f"{url}/readyz")).status_code == 200
    times.sort()
    return {
        "bad_clients": FLOOD_CLIENTS,
        "bad_requests": counts,
        "good_requests": len(times),
        "good_errors": len(bad),
        "good_p50_ms": round(1000 * times[len(times) // 2], 1),
        "good_p99_ms": round(1000 * times[int(0.99 * len(times))], 1),
        "rss_before_mib": before,
        "rss_peak_mib": memory_mib(pid, "VmHWM"),
        "alive": alive,
    }


OFFLINE = """
import os, sys, time
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the commands do
from icebox.pipeline.inference import fitted_head
from pathlib import Path
head = fitted_head.load(sys.argv[1])
contents = [path.read_bytes() for path in sorted(Path(sys.argv[2]).rglob("*.jpg"))][:96]
head.predict_proba(contents[:16])
begin, begin_cpu = time.perf_counter(), time.process_time()
head.predict_proba(contents)
took, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
print(len(contents) / took, 1000 * cpu / len(contents))
"""


def offline(project: Path, head: str, folder: Path) -> dict[str, Any]:
    """Offline predict, its network loaded."""
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, head, str(folder)], cwd=project, check=True, capture_output=True, text=True
    )
    per_s, cpu_ms = map(float, done.stdout.split())
    return {"offline_pictures_per_s": round(per_s, 1), "cpu_ms_a_picture": round(cpu_ms, 1)}


def main() -> None:
    """Run all of it."""
    project, head, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 120
    folder = folder.resolve()
    contents = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
    print(json.dumps(offline(project, head, folder)), flush=True)
    process, url, begin = start(project, head)
    try:
        httpx.post(f"{url}/predict", files={"images": ("a.jpg", contents[0])}, timeout=60).raise_for_status()
        took = {"wall_s": round(time.perf_counter() - begin, 1), "cpu_s": round(cpu_s(process.pid), 1)}
        print(json.dumps({"start_to_first_answer": took}), flush=True)
        for per in (1, 8):
            print(json.dumps(asyncio.run(load(url, process.pid, contents, seconds / 2, per=per))), flush=True)
        print(json.dumps(asyncio.run(flood(url, process.pid, contents, FLOOD_S))), flush=True)
    finally:
        process.terminate()
        print(json.dumps({"exit_code": process.wait(60)}))


if __name__ == "__main__":
    main()
