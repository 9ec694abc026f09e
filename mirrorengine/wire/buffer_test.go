package wire

import (
	"math/rand/v2"
	"testing"
)

func TestABufferHoldsWhatIsAskedForWithAQuarterInVain(t *testing.T) {
	var p Pool
	for range 100_000 {
		n := 1 + rand.IntN(1<<(1+rand.IntN(26)))
		if i := stepFor(n); stepSize(i) < n || i > 0 && stepSize(i-1) >= n {
			t.Fatalf("%d bytes: step %d of %d bytes", n, i, stepSize(i))
		}
	}
	for _, n := range []int{0, 1, 4095, 4096, 4097, 5120, 5121, 1 << 20, 1<<20 + 1, 1 << 26, 1<<26 + 1} {
		b := p.Get(n)
		if len(b.Bytes()) != n || b.Size() < n || b.Size() > max(4096, n+n/4+1) {
			t.Fatalf("asked for %d bytes: got %d of %d", n, len(b.Bytes()), b.Size())
		}
		b.Release()
	}
	if p.Lent() != 0 {
		t.Errorf("%d bytes are still lent", p.Lent())
	}
}

func TestABufferIsFreeWhenTheLastUserHasReleasedIt(t *testing.T) {
	p := Pool{Poison: true}
	b := p.Get(10)
	copy(b.Bytes(), "0123456789")
	freed := 0
	b.OnFree(func() { freed++ })
	b.Retain()
	data := b.Bytes()
	b.Release()
	if freed != 0 || string(data) != "0123456789" {
		t.Fatal("freed while somebody used it")
	}
	b.Release()
	if freed != 1 || data[0] != 0xdb {
		t.Fatal("not freed by the last user")
	}
	var other Pool
	released := other.Get(10)
	released.Release()
	for name, misuse := range map[string]func(){"released twice": released.Release, "retained by nobody": b.Retain} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s, and nothing said", name)
				}
			}()
			misuse()
		}()
	}
}
