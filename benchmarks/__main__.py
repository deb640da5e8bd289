"""python -m benchmarks: all of them, one after the other."""

from benchmarks import pacing, page, peers, scale, throughput

throughput.main()
scale.main()
page.main()
pacing.main()
peers.main()
