//go:build !darwin && !linux

package metal

import "github.com/ds4-go/ds4/modules/model/backend"

const canReserve = false

func reserve(int) ([]byte, error) { return nil, backend.ErrUnsupported }

func unreserve([]byte) {}
