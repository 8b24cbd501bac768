module read

go 1.21

require github.com/HdrHistogram/hdrhistogram-go v1.4.0
