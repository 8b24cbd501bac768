import sys
from hdrh.log import HistogramLogReader
from hdrh.histogram import HdrHistogram

reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, 3_600_000_000, 3))
while (histogram := reader.get_next_interval_histogram()) is not None:
    values = [histogram.get_value_at_percentile(p) for p in (50, 90, 99, 100)]
    print(histogram.get_tag() or "-", histogram.get_total_count(), *values)
