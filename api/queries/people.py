"""Accounts, sessions, tickets and the audit of what people did."""

from __future__ import annotations

USER = "SELECT name, password_hash, role, area, language, disabled FROM app_user WHERE name = %(name)s"

USERS = "SELECT name, role, area, language, demo, disabled, created_at FROM app_user ORDER BY name"

ADD_USER = """
INSERT INTO app_user (name, password_hash, role, area, demo)
VALUES (%(name)s, %(password_hash)s, %(role)s, %(area)s, %(demo)s)
ON CONFLICT (name) DO NOTHING RETURNING name
"""

REPLACE_DEMO_USER = """
INSERT INTO app_user (name, password_hash, role, area, demo)
VALUES (%(name)s, %(password_hash)s, %(role)s, %(area)s, true)
ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash, role = excluded.role,
    area = excluded.area, disabled = false WHERE app_user.demo
RETURNING name
"""

DISABLE_USER = "UPDATE app_user SET disabled = %(disabled)s WHERE name = %(name)s RETURNING name"

ADD_SESSION = """
INSERT INTO app_session (digest, kind, name, expires_at) VALUES (%(digest)s, %(kind)s, %(name)s, %(expires_at)s)
"""

SESSION = """
SELECT app_user.name, role, area, language, expires_at FROM app_session JOIN app_user USING (name)
WHERE digest = %(digest)s AND kind = %(kind)s AND expires_at > %(now)s AND NOT disabled
"""

TAKE_TICKET = """
WITH taken AS (DELETE FROM app_session WHERE digest = %(digest)s AND kind = 'ticket' RETURNING name, expires_at)
SELECT app_user.name, role, area, language FROM taken JOIN app_user USING (name)
WHERE taken.expires_at > %(now)s AND NOT disabled
"""

SIGN_OUT = "DELETE FROM app_session WHERE digest = %(digest)s RETURNING name"

SIGN_OUT_USER = "DELETE FROM app_session WHERE name = %(name)s"

SESSIONS_ALIVE = """
SELECT digest FROM app_session
WHERE digest = ANY (%(digests)s::bytea[]) AND kind = 'bearer' AND expires_at > %(now)s
"""

USERS_ENABLED = """
SELECT name, role, area FROM app_user WHERE name = ANY (%(names)s::text[]) AND NOT disabled
"""

AUDIT = """
INSERT INTO audit (actor, action, target, body) VALUES (%(actor)s, %(action)s, %(target)s, %(body)s::jsonb)
"""

TOWNS_NAMED = "SELECT code FROM region WHERE level = 'town' AND name = %(name)s AND valid_to IS NULL"
