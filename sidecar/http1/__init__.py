"""HTTP/1.x on the wire (RFC 9112): heads, bodies, the client's side and the upstream's side."""
