"""python -m benchmarks: all of them, one after the other."""

from benchmarks import scale, throughput

throughput.main()
scale.main()
