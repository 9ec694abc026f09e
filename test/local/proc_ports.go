package local

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
)

// ports remembers what FreePorts has given out in this process; the listeners keep other processes off (see there).
var ports struct {
	sync.Mutex // guards the fields below
	given      map[int]net.Listener
}

// FreePorts returns n free TCP and UDP ports of 127.0.0.1, never the same one twice.
//
// They lie below the range from which the system takes ports for outgoing connections, so that nobody takes one over
// while the child that owns it is down and about to be restarted. Each stays reserved until this process ends, against
// other processes too, by a listener on the same port of another loopback address (where the system has one: Linux). So a
// child must bind 127.0.0.1, not all addresses.
func FreePorts(n int) ([]int, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = make(map[int]net.Listener)
	}
	const low, tries = 10000, 20000
	high := ephemeralStart()
	var found []int
	for range tries {
		if len(found) == n {
			return found, nil
		}
		port := low + rand.IntN(high-low)
		if _, taken := ports.given[port]; taken {
			continue
		}
		// Before the port itself is tried: who has reserved it may be about to listen there, and would find us.
		reserve, err := net.Listen("tcp", net.JoinHostPort("127.77.77.77", strconv.Itoa(port)))
		if err != nil && addressExists() {
			continue // reserved by another process
		}
		if !bindable(port) {
			if reserve != nil {
				reserve.Close()
			}
			continue
		}
		ports.given[port] = reserve
		found = append(found, port)
	}
	if len(found) == n {
		return found, nil
	}
	return nil, fmt.Errorf("find %d free ports between %d and %d on 127.0.0.1: only %d found", n, low, high, len(found))
}

// bindable reports whether a port can be listened on, and leaves it so: not before the listeners are closed, and not while
// a child that was forked meanwhile has copies of them.
func bindable(port int) (free bool) {
	betweenForks(func() {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			return
		}
		defer tcp.Close()
		udp, err := net.ListenPacket("udp", addr)
		free = err == nil && udp.Close() == nil
	})
	return free
}

// addressExists reports whether the address used for reservations can be bound at all.
var addressExists = sync.OnceValue(func() bool {
	l, err := net.Listen("tcp", "127.77.77.77:0")
	return err == nil && l.Close() == nil
})

// ephemeralStart is the first port that the system may take for outgoing connections.
func ephemeralStart() int {
	const usual = 32768
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return usual
	}
	var first, last int
	if _, err := fmt.Sscan(string(text), &first, &last); err != nil || first < 12000 {
		return usual
	}
	return min(first, usual)
}
