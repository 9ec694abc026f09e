package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// twin is a broker's side of fetch sessions, as FetchManager and FetchSession
// have it: additions and updates first, then what is forgotten.
type twin struct {
	id, epoch int32
	parts     map[Partition]int64
}

func (w *twin) take(req *kmsg.FetchRequest, names map[[16]byte]string) error {
	name := func(topic string, id [16]byte) string {
		if req.Version >= fetchIDs {
			return names[id]
		}
		return topic
	}
	switch {
	case req.SessionEpoch == -1:
		w.parts = map[Partition]int64{}
	case req.SessionEpoch == 0:
		w.id, w.epoch, w.parts = w.id+1, 0, map[Partition]int64{}
	case w.parts == nil || req.SessionID != w.id:
		return kerr.FetchSessionIDNotFound
	case req.SessionEpoch != w.epoch:
		return kerr.InvalidFetchSessionEpoch
	}
	seen := map[Partition]bool{}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			key := Partition{name(t.Topic, t.TopicID), p.Partition}
			if seen[key] {
				return fmt.Errorf("%v is named twice", key)
			}
			seen[key] = true
			w.parts[key] = p.FetchOffset
		}
	}
	for _, t := range req.ForgottenTopics {
		for _, p := range t.Partitions {
			delete(w.parts, Partition{name(t.Topic, t.TopicID), p})
		}
	}
	w.epoch++
	return nil
}

// Whatever comes and goes, moves, is lost or evicted: what the broker would
// fetch is exactly what is wanted, and a request names only what changed.
func TestASessionAlwaysHasTheBrokerFetchWhatIsWanted(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s, w := NewSession(), &twin{}
		type wanted struct {
			offset int64
			id     [16]byte
			owner  int
		}
		want := map[Partition]wanted{}
		ids := map[string][16]byte{}
		names := map[[16]byte]string{}
		version := int16(fetchHigh)
		if seed%3 == 1 {
			version = 11
		} else if seed%10 == 2 {
			version = 5 // no sessions
		}
		owners := 0
		name := func(topic string) [16]byte {
			id := [16]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), 1}
			ids[topic], names[id] = id, topic
			return id
		}
		for round := range 60 {
			changed := map[Partition]bool{}
			for range rng.IntN(6) {
				topic := fmt.Sprint("t", rng.IntN(4))
				if _, ok := ids[topic]; !ok {
					name(topic)
				}
				p := Partition{topic, int32(rng.IntN(4))}
				changed[p] = true
				now, is := want[p]
				switch {
				case is && rng.IntN(2) == 0:
					s.Forget(p, now.owner)
					delete(want, p)
				case is && rng.IntN(2) == 0: // the next offset
					want[p] = wanted{now.offset + 1, now.id, now.owner}
					s.Want(p, now.id, now.offset+1, 1, now.owner)
				default: // another owner, perhaps of a topic made anew
					if rng.IntN(4) == 0 {
						name(topic)
					}
					owners++
					want[p] = wanted{int64(rng.IntN(50)), ids[topic], owners}
					s.Want(p, ids[topic], want[p].offset, 1, owners)
					s.Forget(p, owners-1) // the former owner's end is heard late
				}
			}
			req := kmsg.NewPtrFetchRequest()
			req.Version = version
			s.Fill(req)
			err := w.take(req, names)
			res := kmsg.NewPtrFetchResponse()
			res.SessionID = w.id
			switch rng.IntN(12) {
			case 0:
				w.parts, err = nil, kerr.FetchSessionIDNotFound // evicted
				if req.SessionEpoch <= 0 {
					err = nil
				}
			case 1:
				s.Reset() // the answer was lost
				continue
			}
			var code *kerr.Error
			if errors.As(err, &code) {
				res.ErrorCode = code.Code
			} else if err != nil {
				t.Fatalf("seed %d round %d: %v", seed, round, err)
			}
			if got := s.Took(res); (got != nil) != (err != nil) || err != nil && !errors.Is(got, ErrAgain) {
				t.Fatalf("seed %d round %d: broker said %v, session %v", seed, round, err, got)
			}
			if err != nil || w.parts == nil {
				continue
			}
			if len(w.parts) != len(want) || s.Wanted() != len(want) {
				t.Fatalf("seed %d round %d: broker fetches %v, wanted are %v (%d)", seed, round, w.parts, want, s.Wanted())
			}
			for p, at := range want {
				if w.parts[p] != at.offset || s.Owner(p) != at.owner {
					t.Fatalf("seed %d round %d: %v is fetched from %d for %v, wanted is %+v", seed, round, p, w.parts[p], s.Owner(p), at)
				}
			}
			named := len(req.ForgottenTopics)
			for _, topic := range req.Topics {
				named += len(topic.Partitions)
			}
			if req.SessionEpoch > 0 && named > len(changed) {
				t.Fatalf("seed %d round %d: %d partitions named, %d changed", seed, round, named, len(changed))
			}
		}
	}
}

// What is answered to a position that is not wanted any more is for nobody.
func TestAnAnswerToAFormerOwnerIsForNobody(t *testing.T) {
	s := NewSession()
	p := Partition{"t", 0}
	s.Want(p, [16]byte{1}, 5, 1, "one")
	req := kmsg.NewPtrFetchRequest()
	req.Version = fetchHigh
	s.Fill(req)
	if s.Owner(p) != "one" {
		t.Fatal("nobody owns what was asked for")
	}
	s.Want(p, [16]byte{1}, 9, 1, "two")
	if got := s.Owner(p); got != nil {
		t.Errorf("an answer from offset 5 is given to %v, who wants 9", got)
	}
	s.Forget(p, "one")
	if s.Wanted() != 1 {
		t.Error("a former owner took the partition from the present one")
	}
}
