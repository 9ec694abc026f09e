//go:build !race

package link

// raced: the race detector is on, which makes times mean nothing.
const raced = false
