//go:build !unix

package main

import (
	"context"
	"database/sql"
	"errors"
)

var errNoServer = errors.New("a PostgreSQL server is started on Unix only")

type server struct{}

func (p *bench) postgres() (*server, error) { return nil, errNoServer }

func (s *server) database(context.Context) (string, error) { return "", errNoServer }

func (p *bench) connect(string, int) (*sql.DB, error) { return nil, errNoServer }

func (s *server) overTCP(string) string { return "" }

func (s *server) explains() bool { return false }

func (p *bench) explained(string) (*sql.DB, *plans, error) { return nil, nil, errNoServer }
