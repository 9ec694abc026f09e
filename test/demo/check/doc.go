// Package check is the demo's judge: it counts, from what clients were
// acknowledged, what groups read and what stands in the clusters, whether the
// story went as it should. What the demo meant to do does not come in, but for
// the tutorial's own figures (Want).
//
// It is pure: values in, a Report out. It reads no file and no cluster; that is
// the demo's evidence.go. Start at Judge.
package check
