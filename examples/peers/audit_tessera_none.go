//go:build !unix

package main

import "context"

func tesseraFiler(context.Context, *bench, int) (*filer, error) { return nil, errNoTessera }
