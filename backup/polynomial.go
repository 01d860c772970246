package backup

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"strconv"
)

// The config of a repository carries an irreducible polynomial over GF(2) for
// restic's own chunker. Ours does not use it, but restic refuses to open a
// repository without a valid one, and needs it for `restic backup`.
const polynomialDegree = 53

// polynomial has bit i set when x^i is a term.
type polynomial uint64

func (p polynomial) degree() int { return bits.Len64(uint64(p)) - 1 }

func (p polynomial) String() string { return strconv.FormatUint(uint64(p), 16) }

// mod returns the remainder of p by m; m is not zero.
func (p polynomial) mod(m polynomial) polynomial {
	for p.degree() >= m.degree() {
		p ^= m << (p.degree() - m.degree())
	}
	return p
}

// mulMod returns p*q mod m, for p and q of lower degree than m and a degree
// of m below 63.
func (p polynomial) mulMod(q, m polynomial) polynomial {
	var product polynomial
	top := polynomial(1) << m.degree()
	for ; q != 0; q >>= 1 {
		if q&1 != 0 {
			product ^= p
		}
		if p <<= 1; p&top != 0 {
			p ^= m
		}
	}
	return product
}

func gcd(a, b polynomial) polynomial {
	for b != 0 {
		a, b = b, a.mod(b)
	}
	return a
}

// irreducible is Ben-Or's test: p has no factor of degree i for any i up to
// half its degree, because x^(2^i) - x is the product of all of them.
func (p polynomial) irreducible() bool {
	const x = polynomial(2)
	if p.degree() < 2 || p.degree() > 62 {
		return p.degree() == 1
	}
	power := x
	for range p.degree() / 2 {
		power = power.mulMod(power, p)
		if gcd(p, power^x) != 1 {
			return false
		}
	}
	return true
}

// randomPolynomial draws until one of degree 53 is irreducible, about 50
// times.
func randomPolynomial() polynomial {
	var raw [8]byte
	for {
		_, _ = rand.Read(raw[:]) // never fails
		p := polynomial(binary.BigEndian.Uint64(raw[:]))
		p = p&(1<<polynomialDegree-1) | 1<<polynomialDegree | 1
		if p.irreducible() {
			return p
		}
	}
}

func parsePolynomial(text string) (polynomial, error) {
	v, err := strconv.ParseUint(text, 16, 64)
	p := polynomial(v)
	if err != nil || !p.irreducible() {
		return 0, corrupt("config has no irreducible polynomial")
	}
	return p, nil
}
