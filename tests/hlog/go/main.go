package main

import (
	"fmt"
	"os"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	reader := hdrhistogram.NewHistogramLogReader(file)
	for {
		h, err := reader.NextIntervalHistogram()
		if err != nil {
			panic(err)
		}
		if h == nil {
			return
		}
		tag := h.Tag()
		if tag == "" {
			tag = "-"
		}
		fmt.Println(tag, h.TotalCount(), h.ValueAtQuantile(50), h.ValueAtQuantile(90), h.ValueAtQuantile(99), h.ValueAtQuantile(100))
	}
}
