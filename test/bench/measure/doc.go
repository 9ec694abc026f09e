// Package measure is the arithmetic of `make bench`: what a process and the machine have used (from /proc), medians and
// percentiles, the report and its ratios. It starts nothing and knows no Kafka. Start at [Report].
package measure
