"""GLSL of the EGL renderer: geometry programs, sky and contact shadows. Surfaces are in surface_shaders.py."""

from __future__ import annotations

VERTEX = """
#version 330
uniform mat4 u_clip_from_scene;
uniform mat4 u_scene_from_mesh;
uniform mat3 u_normal_matrix;
in vec3 in_position; in vec3 in_normal; in vec3 in_colour; in vec2 in_uv; in vec2 in_kind;
out vec3 v_position; out vec3 v_normal; out vec3 v_colour; out vec2 v_uv;
flat out float v_material; flat out float v_extra;
invariant gl_Position;
void main() {
    vec4 p = u_scene_from_mesh * vec4(in_position, 1.0);
    gl_Position = u_clip_from_scene * p;
    v_position = p.xyz;
    v_normal = u_normal_matrix * in_normal;
    v_colour = in_colour; v_uv = in_uv; v_material = in_kind.x; v_extra = in_kind.y;
}
"""

DEPTH_VERTEX = """
#version 330
uniform mat4 u_clip_from_scene;
uniform mat4 u_scene_from_mesh;
in vec3 in_position;
invariant gl_Position;
void main() { vec4 p = u_scene_from_mesh * vec4(in_position, 1.0); gl_Position = u_clip_from_scene * p; }
"""

DEPTH_FRAGMENT = """
#version 330
void main() {}
"""

ID_FRAGMENT = """
#version 330
uniform float u_id;
out float f_id;
void main() { f_id = u_id; }
"""

SKY_VERTEX = """
#version 330
in vec2 in_corner;
out vec2 v_ndc;
void main() { v_ndc = in_corner; gl_Position = vec4(in_corner, 1.0, 1.0); }
"""

# Light of the cloudless sky in a direction, and the way to the screen (gamma 2, cheaper than 2.2 in software).
SKY_LIGHT = """
uniform vec3 u_sun; uniform vec3 u_sun_colour; uniform vec3 u_zenith; uniform vec3 u_horizon;
uniform sampler2D u_noise;
vec3 sky_light(vec3 d) {
    float g = 1.0 - clamp(d.z, 0.0, 1.0);
    float s = max(dot(d, u_sun), 0.0);
    float s2 = s * s, s4 = s2 * s2, s8 = s4 * s4;
    return mix(u_zenith, u_horizon, g * g * g) + u_sun_colour * (0.10 * s8 + 0.3 * s8 * s8 * s8 * s8);
}
vec3 tone(vec3 c) {
    c = (c * (2.51 * c + 0.03)) / (c * (2.43 * c + 0.59) + 0.14);
    return sqrt(clamp(c, 0.0, 1.0));
}
"""

SKY_FRAGMENT = (
    """
#version 330
uniform mat4 u_direction_from_ndc;
uniform float u_cloud; uniform float u_ambient;
in vec2 v_ndc;
out vec4 f_colour;
"""
    + SKY_LIGHT
    + """
void main() {
    vec3 d = normalize((u_direction_from_ndc * vec4(v_ndc, 1.0, 1.0)).xyz);
    d.z = max(d.z, 0.0);
    vec3 c = sky_light(d);
    vec2 p = d.xy / (d.z + 0.14) * 0.045 + u_cloud;
    float n = texture(u_noise, p).r * 0.50 + texture(u_noise, p * 2.3 + 0.3).g * 0.28
            + texture(u_noise, p * 5.1).b * 0.14 + texture(u_noise, p * 11.0).a * 0.08;
    float cover = smoothstep(0.62 - 0.25 * u_cloud, 0.92 - 0.25 * u_cloud, n) * smoothstep(0.0, 0.10, d.z);
    vec3 cloud = u_horizon * 0.45 + (vec3(0.60) - 0.25 * smoothstep(0.7, 1.0, n)) * u_ambient + 0.14 * u_sun_colour;
    f_colour = vec4(tone(mix(c, cloud, 0.85 * cover)), 1.0);
}
"""
)

# Dark smooth blob under a road user: the sky that its body hides from the ground.
CONTACT_VERTEX = """
#version 330
uniform mat4 u_clip_from_scene; uniform mat4 u_scene_from_mesh; uniform vec2 u_half;
in vec2 in_corner;
out vec2 v_uv;
void main() {
    v_uv = in_corner;
    gl_Position = u_clip_from_scene * u_scene_from_mesh * vec4(in_corner * u_half, 0.02, 1.0);
}
"""

CONTACT_FRAGMENT = """
#version 330
in vec2 v_uv;
uniform float u_strength;
out vec4 f_colour;
void main() {
    vec2 q = v_uv * v_uv;
    f_colour = vec4(0.0, 0.0, 0.0, u_strength * (1.0 - smoothstep(0.35, 1.0, sqrt(sqrt(q.x * q.x + q.y * q.y)))));
}
"""

__all__ = [
    "CONTACT_FRAGMENT",
    "CONTACT_VERTEX",
    "DEPTH_FRAGMENT",
    "DEPTH_VERTEX",
    "ID_FRAGMENT",
    "SKY_FRAGMENT",
    "SKY_LIGHT",
    "SKY_VERTEX",
    "VERTEX",
]
