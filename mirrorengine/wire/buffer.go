package wire

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Pool lends memory for answers. Sizes are rounded up to one of four steps
// between powers of two, so at most a quarter is lent in vain; what is larger
// than the last step is left to the garbage collector.
type Pool struct {
	steps [numSteps]sync.Pool // of *Buffer

	// Poison overwrites memory that is given back: whoever still reads it, or sends
	// it to a broker, shows at once. Tests set it before the first use.
	Poison bool

	lent atomic.Int64
}

const (
	firstStep = 12                         // 4 KiB
	lastStep  = 26                         // 64 MiB
	numSteps  = 4*(lastStep-firstStep) + 1 // sizes 2^12, 1.25*2^12, … 2^26
)

// stepSize is the size of a step.
func stepSize(i int) int {
	return (4 + i%4) << (firstStep - 2 + i/4)
}

// stepFor is the smallest step that holds n bytes, numSteps if none does.
func stepFor(n int) int {
	if n <= 1<<firstStep {
		return 0
	}
	e := bits.Len(uint(n-1)) - 1 // 2^e < n <= 2^(e+1)
	i := 4*(e-firstStep) + (n-1-1<<e)>>(e-2) + 1
	return min(i, numSteps)
}

// Buffer is memory with a count of those who use it. It goes back to its pool
// when the last of them has released it.
type Buffer struct {
	data []byte
	mem  []byte // data with the rest of its step
	step int
	refs atomic.Int32
	pool *Pool
	free func()
}

// Get lends n bytes of any content, to one user.
func (p *Pool) Get(n int) *Buffer {
	step := stepFor(n)
	var b *Buffer
	switch {
	case step == numSteps:
		b = &Buffer{mem: make([]byte, n), step: step, pool: p}
	default:
		var ok bool
		if b, ok = p.steps[step].Get().(*Buffer); !ok {
			b = &Buffer{mem: make([]byte, stepSize(step)), step: step, pool: p}
		}
	}
	b.data = b.mem[:n]
	b.refs.Store(1)
	p.lent.Add(int64(len(b.mem)))
	return b
}

// Lent is how many bytes are with users.
func (p *Pool) Lent() int64 { return p.lent.Load() }

// Bytes are the buffer's bytes; they must not be touched after Release.
func (b *Buffer) Bytes() []byte { return b.data }

// Size is how much memory the buffer holds, in bytes.
func (b *Buffer) Size() int { return len(b.mem) }

// OnFree has f called when the last user releases the buffer. Call it while
// there is one user.
func (b *Buffer) OnFree(f func()) { b.free = f }

// Retain adds a user.
func (b *Buffer) Retain() {
	if b.refs.Add(1) <= 1 {
		panic("wire: a buffer was retained that nobody held")
	}
}

// Release takes a user away. One too many would let a buffer be reused while a
// produce of it is under way, so that is a panic.
func (b *Buffer) Release() {
	switch n := b.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("wire: a buffer was released twice")
	}
	free := b.free
	b.free = nil
	b.pool.put(b)
	if free != nil {
		free()
	}
}

func (p *Pool) put(b *Buffer) {
	p.lent.Add(-int64(len(b.mem)))
	if p.Poison {
		for i := range b.mem {
			b.mem[i] = 0xdb
		}
	}
	b.data = nil
	if b.step < numSteps {
		p.steps[b.step].Put(b)
	}
}
