import type { Reader } from '../db/database.ts'
import { timestampA, timestampB, timestampIdentity } from '../http/timestamps.ts'
import { catalogV2View, catalogView, type Place } from './catalog.ts'
import type { TokenAnswer } from './token-schema.ts'
import type { TokenFacts } from './token-store.ts'
import { findProject, type KnownProject, listRolesByName } from './user-store.ts'

/** A token with what its ids stand for. */
export interface DescribedToken {
  facts: TokenFacts
  /** undefined when it is not scoped. */
  project: KnownProject | undefined
  roles: { id: string; name: string }[]
}

/** Reads what a view of the token needs beside its facts. */
export async function describeToken(read: Reader, facts: TokenFacts): Promise<DescribedToken> {
  const project = facts.projectId === null ? undefined : await findProject(read, { id: facts.projectId })
  return { facts, project, roles: await listRolesByName(read, facts.roles) }
}

/** The audit id of the token, and that of the first one in its chain. */
const auditIds = ({ auditId, parentAuditId }: TokenFacts): string[] =>
  parentAuditId === null ? [auditId] : [auditId, parentAuditId]

/**
 * The body that `POST` and `GET /v3/auth/tokens` answer.
 * @param place where the catalogue is asked for; undefined leaves it out.
 */
export function tokenView({ facts, project, roles }: DescribedToken, place: Place | undefined): TokenAnswer {
  return {
    token: {
      methods: facts.methods,
      user: {
        id: facts.userId,
        name: facts.userName,
        domain: { id: facts.domainId, name: facts.domainName },
        password_expires_at: null,
      },
      audit_ids: auditIds(facts),
      expires_at: timestampIdentity(facts.expiresAt),
      issued_at: timestampIdentity(facts.issuedAt),
      ...(project && {
        project: { id: project.id, name: project.name, domain: { id: project.domainId, name: project.domainName } },
        is_domain: false,
        roles,
        ...(place && { catalog: catalogView(place, project.id) }),
      }),
    },
  }
}

/** The body that `POST /v2.0/tokens` answers. */
export function tokenV2View(token: string, { facts, project, roles }: DescribedToken, place: Place) {
  return {
    access: {
      token: {
        id: token,
        expires: timestampA(facts.expiresAt),
        issued_at: timestampB(facts.issuedAt),
        audit_ids: auditIds(facts),
        ...(project && {
          tenant: { id: project.id, name: project.name, description: project.description, enabled: project.isEnabled },
        }),
      },
      serviceCatalog: project ? catalogV2View(place, project.id) : [],
      user: {
        id: facts.userId,
        name: facts.userName,
        username: facts.userName,
        roles: roles.map(({ name }) => ({ name })),
        roles_links: [],
      },
      metadata: { is_admin: roles.some(({ name }) => name === 'admin') ? 1 : 0, roles: roles.map(({ id }) => id) },
    },
  }
}

/** A project that the caller may scope a token to, as `GET /v3/auth/projects` lists it. */
export function projectView(project: KnownProject, selfUrl: string) {
  return {
    id: project.id,
    name: project.name,
    description: project.description,
    domain_id: project.domainId,
    parent_id: project.domainId,
    enabled: project.isEnabled,
    is_domain: false,
    tags: [],
    options: {},
    links: { self: selfUrl },
  }
}
