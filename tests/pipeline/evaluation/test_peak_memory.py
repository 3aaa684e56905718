import subprocess
import sys


def test_the_peak_counts_what_was_freed_again():
    code = "from icebox.pipeline.evaluation import peak_memory; a = peak_memory.peak_bytes(); "
    code += "x = b'x' * 50_000_000; del x; print(peak_memory.peak_bytes() - a)"
    grown = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert 45_000_000 < grown < 60_000_000
