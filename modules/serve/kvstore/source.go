package kvstore

// Source is a sequence at one length, to be saved. Its methods are called from the store's writer, one at a time.
type Source interface {
	Tokens() []int32                  // unchanged until Free
	ReadPage(i int, dst []byte) error // page i as in memory; rows past the length are not looked at
	State() ([]byte, error)           // ring image, cut to the length, and a draft head's window if there is one
	Free()                            // called once, when the store is done with it
}

// Snapshot is what FromSnapshot needs of the engine's snapshots; *model.Snapshot is one.
type Snapshot interface {
	Tokens() []int32
	ReadPage(i int, dst []byte, done func(error))
	State() []byte
	Wait() error
	Free()
}

// FromSnapshot makes a Source from a snapshot of the engine. do runs a function on the goroutine that owns the engine, and
// returns when it has been run; pages are read in the background from there, so decoding goes on meanwhile. An error of do
// (the engine is gone) ends the save.
func FromSnapshot(s Snapshot, do func(func()) error) Source { return &snapshotSource{s: s, do: do} }

type snapshotSource struct {
	s  Snapshot
	do func(func()) error
}

func (s *snapshotSource) Tokens() []int32 { return s.s.Tokens() }

func (s *snapshotSource) ReadPage(i int, dst []byte) error {
	done := make(chan error, 1)
	if err := s.do(func() { s.s.ReadPage(i, dst, func(err error) { done <- err }) }); err != nil {
		return err
	}
	return <-done
}

func (s *snapshotSource) State() ([]byte, error) {
	if err := s.s.Wait(); err != nil {
		return nil, err
	}
	return s.s.State(), nil
}

func (s *snapshotSource) Free() {
	_ = s.do(s.s.Free) // where the engine is gone, its pages are too
}
