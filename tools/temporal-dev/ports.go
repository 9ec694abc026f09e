package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"syscall"
)

// reserved are the listeners that keep other processes off the ports that freePorts found, until this one ends.
var reserved []net.Listener

// freePorts finds n different ports that nobody listens on.
//
// A port of the system's choice (":0") lies where outgoing connections get theirs: on a busy machine one of those may
// take it before the server listens there, and the server, which has no second try, ends. These lie below that range
// (as Linux has it by default).
func freePorts(ip string, n int) ([]int, error) {
	const low, high, tries = 10000, 32768, 20000
	var ports []int
	for range tries {
		if len(ports) == n {
			return ports, nil
		}
		port := low + rand.IntN(high-low)
		if slices.Contains(ports, port) || ip == "127.0.0.1" && !reserve(port) {
			continue
		}
		if l, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(port))); err == nil {
			ports = append(ports, port)
			l.Close()
		}
	}
	return nil, fmt.Errorf("find %d free ports between %d and %d on %s: only %d found", n, low, high, ip, len(ports))
}

// reserve keeps a port of 127.0.0.1 for this process by a listener on another loopback address, where the system has one,
// and reports false for one that is another's: test/local's FreePorts, which finds ports for this server's neighbours,
// makes and heeds the same reservations.
func reserve(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.77.77.77", strconv.Itoa(port)))
	if err == nil {
		reserved = append(reserved, l)
	}
	return !errors.Is(err, syscall.EADDRINUSE)
}
