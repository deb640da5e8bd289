"""python -m benchmarks: all of them, one after the other."""

from benchmarks import pacing, peers, scale, throughput

throughput.main()
scale.main()
pacing.main()
peers.main()
