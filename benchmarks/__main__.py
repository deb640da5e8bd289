"""python -m benchmarks: all of them, one after the other."""

from benchmarks import pacing, scale, throughput

throughput.main()
scale.main()
pacing.main()
